import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keyOf, type Sysctl } from "../state/object.ts";
import { procSys, SysctlDriver, type SysctlFiles } from "./sysctl.ts";

const PATH = "net/ipv6/conf/flannel-v6.1/accept_ra";
const WANTED: Sysctl = { kind: "sysctl", dev: "flannel-v6.1", path: PATH, value: "0" };
const add = [{ verb: "add", key: keyOf(WANTED), object: WANTED }] as const;

function failing(code: string, errno: number): SysctlFiles {
  return {
    read: () => "1\n",
    write() {
      throw Object.assign(new Error(code), { code, errno: -errno });
    },
  };
}

test("SysctlDriver does without a sysctl that is read-only here, says so once, and takes it for no drift", async () => {
  const said: string[] = [];
  using driver = new SysctlDriver(60_000, failing("EROFS", 30), (words) => said.push(words));
  expect(await driver.apply(add)).toEqual([undefined]);
  driver.lookAfter([WANTED]);
  await driver.refresh();
  expect([...driver.mirror.all.values()].map(({ object }) => object)).toEqual([WANTED]);
  expect(await driver.apply(add)).toEqual([undefined]);
  expect(said).toEqual([`cannot set sysctl ${PATH}=0: EROFS (Read-only file system)`]);
});

test("SysctlDriver fails for any other reason", async () => {
  const said: string[] = [];
  using driver = new SysctlDriver(60_000, failing("EACCES", 13), (words) => said.push(words));
  const [outcome] = await driver.apply(add);
  expect(outcome?.message).toBe(`cannot set sysctl ${PATH}=0: EACCES (Permission denied)`);
  expect(said).toEqual([]);
});

test("procSys writes where it reads when it can, and names the first place when neither can be written", () => {
  const directory = mkdtempSync(join(tmpdir(), "flannel-sysctl-"));
  try {
    const [first, second] = [join(directory, "a"), join(directory, "b")];
    mkdirSync(first);
    writeFileSync(join(first, "x"), "1");
    procSys(first, second).write("x", "0");
    expect(readFileSync(join(first, "x"), "utf8")).toBe("0");
    expect(procSys(first, second).read("x")).toBe("0");
    expect(() => procSys(join(directory, "none"), second).write("x", "0")).toThrow(join(directory, "none"));
  } finally {
    rmSync(directory, { recursive: true });
  }
});
