// flanneld.service, docker's drop-in and that of docs/ipsec.md as systemd itself judges them, installed by install.sh into a root of their own; and flanneld under what the unit leaves it:
// with no more capabilities than it lists, and no system call or address family that it forbids. Needs root, systemd-analyze, strace, setpriv.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { environmentName, type Flag } from "../../src/config/flag.ts";
import { FLAGS } from "../../src/config/flag_table.ts";
import { Underlay } from "../e2e/nodes.ts";
import { peerLease } from "../e2e/store.ts";
import { run } from "../kernel/linux_world.ts";

const PACKAGING = join(import.meta.dir, "../../packaging");
const UNIT = readFileSync(join(PACKAGING, "flanneld.service"), "utf8");

let root = "";
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "flannel-test-unit-"));
  const beside = join(root, "unpacked");
  cpSync(PACKAGING, beside, { recursive: true });
  writeFileSync(join(beside, "flanneld"), "#!/bin/sh\n", { mode: 0o755 });
  run(`DESTDIR=${root} ${beside}/install.sh --docker`);
  const units = ["/usr/lib/systemd/system", "/lib/systemd/system"].find(existsSync) ?? "";
  cpSync(units, join(root, "usr/lib/systemd/system"), { recursive: true, verbatimSymlinks: true });
  mkdirSync(join(root, "usr/bin"), { recursive: true });
  for (const program of ["dockerd", "touch"]) {
    writeFileSync(join(root, "usr/bin", program), "#!/bin/sh\n", { mode: 0o755 });
  }
  // The lines of docker-ce's that the drop-in works on.
  writeFileSync(
    join(root, "usr/lib/systemd/system/docker.service"),
    "[Service]\nType=notify\nExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock\n",
  );
});
afterAll(() => rmSync(root, { recursive: true }));

/** What systemd-analyze verify says of a unit; nothing when there is nothing to say. */
function verify(unit: string): string {
  const { stdout, stderr } = Bun.spawnSync(["systemd-analyze", `--root=${root}`, "--man=no", "verify", unit]);
  return stdout.toString() + stderr.toString();
}

const isCapability = (name: string) => Bun.spawnSync(["systemd-analyze", "capability", name]).exitCode === 0;

test.each(["flanneld.service", "docker.service"])("systemd-analyze verify finds nothing in %s", (unit) => {
  expect(verify(unit)).toBe("");
});

test("systemd-analyze verify finds nothing in flanneld.service with the drop-in of the ipsec backend, and reads it", () => {
  const guide = readFileSync(join(import.meta.dir, "../../docs/ipsec.md"), "utf8");
  const [, dropIn = ""] = /drop-in \(`systemctl edit flanneld`\)[^`]*```\n(\[Service\]\n.*?)```/s.exec(guide) ?? [];
  expect(dropIn).toContain("\nKillMode=process\n");
  const directory = join(root, "etc/systemd/system/flanneld.service.d");
  mkdirSync(directory, { recursive: true });
  try {
    writeFileSync(join(directory, "ipsec.conf"), dropIn);
    expect(verify("flanneld.service")).toBe("");
    const names = [...dropIn.matchAll(/^([A-Za-z]+)=/gm)].map(([, name]) => name ?? "");
    // One after the other, so that each is known to be read.
    for (const name of names) {
      writeFileSync(join(directory, "ipsec.conf"), dropIn.replace(`${name}=`, `${name}s=`));
      expect(verify("flanneld.service")).toContain(`'${name}s'`);
    }
    expect(names).toHaveLength(3);
    writeFileSync(join(directory, "ipsec.conf"), dropIn.replace("KillMode=process", "KillMode=proces"));
    expect(verify("flanneld.service")).toContain("proces");
    // A capability that there is not is passed over in silence.
    const capabilities = /^CapabilityBoundingSet=(.*)$/m.exec(dropIn)?.[1]?.split(" ") ?? [];
    const unknown = ["CAP_CHWON", ...capabilities].filter((name) => !isCapability(name));
    expect([capabilities.length, unknown]).toEqual([3, ["CAP_CHWON"]]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("systemd-analyze verify would find what is wrong", () => {
  const wrong = UNIT.replace("WatchdogSec=", "WatchDog=").replace("/mk-docker-opts.sh", "/mk-docker.sh");
  writeFileSync(join(root, "etc/systemd/system/wrong.service"), wrong);
  expect(verify("wrong.service")).toContain("WatchDog");
  expect(verify("wrong.service")).toContain("mk-docker.sh");
});

test("the sample configuration names flags and variables that there are", () => {
  const sample = readFileSync(join(PACKAGING, "flanneld.conf"), "utf8").replaceAll(/^#(?=[A-Z_]+=)/gm, "");
  const flags: readonly Flag[] = FLAGS;
  const names = [...sample.matchAll(/[" ]-([a-z-]+)=/g)].map(([, name]) => name ?? "");
  expect(names.length).toBeGreaterThan(2);
  expect(names.filter((name) => !flags.some((flag) => flag.name === name))).toEqual([]);
  const variables = [...sample.matchAll(/^(FLANNELD_[A-Z_]+)=/gm)].map(([, name]) => name ?? "");
  expect(variables.length).toBeGreaterThan(1);
  expect(variables.filter((name) => !flags.some((flag) => environmentName(flag) === name))).toEqual([]);
});

test("systemd-analyze security calls the sandbox OK or better", () => {
  const { stdout, exitCode } = Bun.spawnSync([
    ...["systemd-analyze", `--root=${root}`, "security", "--offline=true", "--threshold=40", "--no-pager"],
    "flanneld.service",
  ]);
  expect(stdout.toString()).toContain("Overall exposure level for flanneld.service");
  expect(exitCode).toBe(0);
});

/** The value of a setting, in words. */
function setting(name: string): string[] {
  const value = new RegExp(`^${name}=(.*)$`, "m").exec(UNIT)?.[1];
  if (value === undefined) throw new Error(`the unit has no ${name}`);
  return value.split(" ");
}

/** The system calls of a set such as @system-service, sets within it included. */
function systemCalls(set: string): string[] {
  const [, ...lines] = run(`systemd-analyze --no-pager syscall-filter ${set}`).split("\n");
  const names = lines.map((line) => line.trim()).filter((name) => name !== "" && !name.startsWith("#"));
  return names.flatMap((name) => (name.startsWith("@") ? systemCalls(name) : [name]));
}

test("flanneld needs no capability, system call or address family that the unit forbids", async () => {
  await using underlay = await Underlay.open({ nodes: 1 });
  const node = underlay.node(1);
  await underlay.store.put(peerLease(2).key, peerLease(2).value);
  const trace = join(underlay.directory, "trace");
  const capabilities = setting("CapabilityBoundingSet").map((name) => name.replace("CAP_", "+").toLowerCase());
  const sandbox = ["setpriv", "--no-new-privs", `--bounding-set=-all,${capabilities}`, "--inh-caps=-all"];
  const flanneld = node.flanneld({
    under: [...sandbox, "strace", "-f", "-qq", "-o", trace],
    flags: ["--healthz-port=8471"],
  });
  await flanneld.says(/flanneld is ready/);
  await flanneld.says(/first complete lease set: 1/);
  const traced = readFileSync(`/proc/${flanneld.pid}/task/${flanneld.pid}/children`, "utf8");
  process.kill(Number(traced), "SIGTERM");
  expect(await flanneld.exit()).toBe(0);
  expect(flanneld.lines(/^[WE]/)).toEqual([]);

  const lines = readFileSync(trace, "utf8").split("\n");
  const called = new Set(lines.map((line) => /^\d+\s+(?:<\.\.\. )?([a-z0-9_]+)/.exec(line)?.[1] ?? ""));
  called.delete("");
  expect(called.size).toBeGreaterThan(20);
  const allowed = new Set(setting("SystemCallFilter").flatMap(systemCalls));
  expect([...called].filter((name) => !allowed.has(name))).toEqual([]);
  const families = new Set(lines.map((line) => /\bsocket\((AF_\w+)/.exec(line)?.[1] ?? ""));
  families.delete("");
  expect([...families]).toContain("AF_NETLINK");
  expect([...families].filter((family) => !setting("RestrictAddressFamilies").includes(family))).toEqual([]);
});
