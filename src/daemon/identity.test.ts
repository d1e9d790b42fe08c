import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { wireguard } from "../backend/wireguard.ts";
import { secretPathOf, settleIdentity } from "./identity.ts";
import { planOf } from "./prepare.ts";

const plan = planOf(
  {
    ranges: {},
    backend: { type: "wireguard", raw: { Type: "wireguard" } },
    warnings: [],
  } as never,
  "a test",
);
const VARIABLE = wireguard.secretFile?.variable ?? "";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "flannel-identity-"));
});
afterEach(() => {
  delete process.env[VARIABLE];
  rmSync(directory, { recursive: true, force: true });
});

const settle = (secretPath: string | undefined, purpose?: "look") =>
  settleIdentity(plan, { stored: {}, links: [], secretPath }, purpose);

test("a secret is kept for root alone beside subnet.env, and is the same after a restart", () => {
  const path = secretPathOf(plan, join(directory, "subnet.env"));
  expect(path).toBe(join(directory, "wgkey"));
  const first = settle(path);
  expect(statSync(path ?? "").mode & 0o777).toBe(0o400);
  expect(first).toMatchObject({ privateKey: readFileSync(path ?? "", "utf8"), privateKeyFile: path });
  expect(settle(path)).toEqual(first);
});

test("the environment tells another path", () => {
  process.env[VARIABLE] = "/elsewhere/key";
  expect(secretPathOf(plan, "/run/flannel/subnet.env")).toBe("/elsewhere/key");
});

test("a file that somebody else wrote is read and not changed", () => {
  const path = join(directory, "key");
  const text = `${new Uint8Array(32).fill(9).toBase64()}\n`;
  writeFileSync(path, text);
  expect(settle(path)).toMatchObject({ privateKey: text.trim() });
  expect(readFileSync(path, "utf8")).toBe(text);
});

test("a look writes nothing", () => {
  const path = join(directory, "key");
  settle(path, "look");
  expect(existsSync(path)).toBe(false);
});

test("a backend without a secret has no path for one", () => {
  const vxlan = planOf({ ranges: {}, backend: { type: "vxlan", raw: {} }, warnings: [] } as never, "a test");
  expect(secretPathOf(vxlan, "/run/flannel/subnet.env")).toBeUndefined();
});
