import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ExtensionIdentity, extension } from "../backend/extension.ts";
import { vxlan } from "../backend/vxlan.ts";
import { settleIdentity } from "./identity.ts";
import { identityCommandRun } from "./identity_command.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "flannel-identity-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const { signal } = new AbortController();

async function settle(PreStartupCommand: string, purpose: "work" | "look" = "work", stored = {}) {
  const plan = {
    backend: extension,
    backendConfig: extension.config({ Type: "extension", PreStartupCommand }),
  } as never;
  const command = await identityCommandRun(plan, directory, purpose === "work" ? signal : undefined);
  return (settleIdentity(plan, stored, [], purpose, command) as ExtensionIdentity).run;
}

test("identityCommandRun runs the identity's command once, as long as it is the same command of the same boot", async () => {
  const count = join(directory, "count");
  const command = `echo x >> ${count}; wc -l < ${count}`;
  const first = await settle(command);
  expect(first.output).toBe("1");
  expect(await settle(command)).toEqual(first);
  const other = await settle(`${command}; true`);
  expect(other.output).toBe("2");
  expect(other.id).not.toBe(first.id);
  const path = join(directory, "identity.json");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  writeFileSync(path, readFileSync(path, "utf8").replace(/"era":"[^ ]+/, '"era":"another-boot'));
  expect((await settle(`${command}; true`)).output).toBe("3");
  rmSync(path);
  expect((await settle(`${command}; true`)).output).toBe("4");
});

test("identityCommandRun runs nothing to look: what has run, else what the lease says", async () => {
  expect((await settle("echo ran", "look", { ipv4: "stored" })).output).toBe("stored");
  const run = await settle("echo ran");
  expect(await settle("echo ran", "look", { ipv4: "stored" })).toEqual(run);
});

test("identityCommandRun says what a failing command said, and keeps nothing", async () => {
  await expect(settle("echo no device >&2; exit 1")).rejects.toThrow(
    "cannot run PreStartupCommand: exit code 1: no device",
  );
  expect((await settle("echo better")).output).toBe("better");
});

test("identityCommandRun refuses output that no peer would take", async () => {
  await expect(settle("head -c 15001 /dev/zero | tr '\\0' a")).rejects.toThrow(
    "cannot use the output of PreStartupCommand: it has 15001 characters",
  );
});

test("identityCommandRun without a command has an identity too, and writes nothing for a backend that knows of none", async () => {
  const { output, id } = await settle("");
  expect([output, id === ""]).toEqual(["", false]);
  rmSync(join(directory, "identity.json"));
  const plan = { backend: vxlan, backendConfig: vxlan.config({ Type: "vxlan" }) } as never;
  expect(await identityCommandRun(plan, directory, signal)).toBeUndefined();
  expect(() => statSync(join(directory, "identity.json"))).toThrow("ENOENT");
});
