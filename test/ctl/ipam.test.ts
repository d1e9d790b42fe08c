// `flannelctl ipam` on files that Debian's host-local wrote, in real namespaces.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../e2e/program.ts";
import { run } from "../kernel/linux_world.ts";
import { IpamHost } from "./ipam_host.ts";

let host: IpamHost;
beforeEach(async () => {
  host = await IpamHost.open();
});
afterEach(async () => {
  await host[Symbol.asyncDispose]();
});

const LEAKED = ["leaked", expect.stringMatching(/^in none of \d+ namespaces, and no runtime knows the container$/)];
const GC = ["gc", "--yes", "--own-pid-namespace"];

test("an address that a namespace has is used, however that namespace is kept; one that none has is leaked", async () => {
  const dual = { subnets: ["10.77.1.0/28", "fd77:1::/120"] };
  const [mounted, mounted6] = (await host.add("mounted", dual)) as [string, string];
  const [lived] = (await host.add("lived", dual)) as [string];
  const [elsewhere] = (await host.add("elsewhere", dual)) as [string];
  const [opened] = (await host.add("opened", dual)) as [string];
  const [gone, gone6] = (await host.add("gone", dual)) as [string, string];
  host.age();

  const { name } = host.namespace();
  run(`ip -n ${name} address add ${mounted}/28 dev lo; ip -n ${name} address add ${mounted6}/120 dev lo nodad`);
  // Each ends with the host: a process in a namespace of its own, a mount in another mount namespace, an open file.
  const inside = (address: string) => `ip address add ${address}/28 dev lo`;
  await using living = host.start(["unshare", "-n", "sh", "-ec", `${inside(lived)}; echo ready; exec sleep 60`]);
  await using mounting = host.start([
    "unshare",
    "-m",
    "sh",
    "-ec",
    `mount -t tmpfs none /mnt; touch "/mnt/a name"; unshare "--net=/mnt/a name" ${inside(elsewhere)}; echo ready; exec sleep 60`,
  ]);
  await using opening = host.start([
    "sh",
    "-ec",
    `mkfifo ${host.directory}/up; unshare -n sh -ec '${inside(opened)}; echo > ${host.directory}/up; exec sleep 1' & pid=$!
     read _ < ${host.directory}/up; exec 9< /proc/$pid/ns/net; kill $pid; wait $pid || true; echo ready; exec sleep 60`,
  ]);
  for (const program of [living, mounting, opening]) await program.says(/ready/);

  const states = await host.states();
  expect(states).toEqual({
    [mounted]: ["used", `in the namespace of /run/netns/${name}`],
    [mounted6]: ["used", `in the namespace of /run/netns/${name}`],
    [lived]: ["used", expect.stringMatching(/^in the namespace of process \d+$/)],
    [elsewhere]: ["used", "in the namespace of /mnt/a name"],
    [opened]: ["used", expect.stringMatching(/^in the namespace of an open file of process \d+$/)],
    [gone]: LEAKED,
    [gone6]: LEAKED,
    ...Object.fromEntries(
      Object.keys(states)
        .filter((address) => /^fd77:1::[345]$/.test(address))
        .map((address) => [address, LEAKED]),
    ),
  });
});

test("a full range is explained, and freed of what is leaked only", async () => {
  const { name } = host.namespace();
  for (let i = 0; i < 13; i++) {
    const id = `container-${i}`;
    const [address] = await host.add(id);
    host.keepState(i === 4 ? `${id}-eth0` : id);
    if (i < 3) run(`ip -n ${name} address add ${address}/28 dev lo`);
  }
  await expect(host.add("one-more")).rejects.toThrow("no IP addresses available in range set: 10.77.1.1-10.77.1.14");
  host.age();
  writeFileSync(join(host.dataDir, "cbr0/10.77.1.14"), "");

  const check = await host.ipam(["check", "--own-pid-namespace"]);
  expect(check.code).toBe(1);
  expect(check.out.split("\n")).toEqual([
    "cbr0: 10.77.1.0/28: 13 of 13 addresses taken: 3 used, 9 leaked, 1 unknown",
    expect.stringMatching(
      /^cbr0: no address is left from 10.77.1.1 to 10.77.1.14 \(by .*\/flannel\); 9 of them are leaked$/,
    ),
    "cbr0: to free the 9: flannelctl ipam gc --network=cbr0",
    "",
  ]);
  const json = JSON.parse((await host.ipam(["check", "--json", "--own-pid-namespace"])).out) as object;
  const counts = { size: 13, taken: 13, free: 0, used: 3, leaked: 9, unknown: 1 };
  expect(json).toMatchObject({ leaked: 9, networks: [{ network: "cbr0", ranges: [counts] }], doubts: [] });

  const before = host.files();
  const dry = await host.ipam(["gc", "--dry-run", "--own-pid-namespace"]);
  expect([dry.code, dry.out.split("\n").filter((line) => line.startsWith("would free")).length]).toEqual([0, 9]);
  expect(host.files()).toEqual(before);

  const gc = await host.ipam(GC);
  expect(gc.err).toBe("1 in doubt were kept (10.77.1.14: its file does not name a container)\n");
  expect(gc.out).toContain("freed 10.77.1.5 of cbr0 (container container-3, eth0)\n");
  expect(gc.code).toBe(0);
  const kept = ["10.77.1.2", "10.77.1.3", "10.77.1.4", "10.77.1.14"];
  expect(host.files()).toEqual([...kept, "last_reserved_ip.0", "lock"].toSorted());
  // Of the last container the file was damaged; its state stays with it.
  expect(readdirSync(host.stateDir).toSorted()).toEqual(["container-0", "container-1", "container-12", "container-2"]);
  expect(await host.add("one-more")).toEqual(["10.77.1.5"]);
  expect((await host.ipam(["check", "--own-pid-namespace"])).code).toBe(0);
});

test("what is young, known to a runtime or a process, or not to be seen whole is in doubt", async () => {
  const [young] = (await host.add("young")) as [string];
  expect(await host.states()).toEqual({
    [young]: ["unknown", expect.stringMatching(/^given out \d+s ago: its container may be starting$/)],
  });
  expect(await host.states(["--older-than=0s"])).toEqual({ [young]: LEAKED });

  const id = "0123456789abcdef0123456789abcdef";
  const [shim] = (await host.add(id)) as [string];
  host.age();
  await using process = host.start(["sh", "-c", "echo ready; sleep 60", "containerd-shim", "-id", id]);
  await process.says(/ready/);
  const states = await host.states();
  expect(states[shim]).toEqual([
    "unknown",
    expect.stringMatching(/^no namespace has it, but process \d+ knows the container$/),
  ]);
  expect(states[young]).toEqual(LEAKED);

  const silent = `containerd at ${host.directory}/none.sock does not answer: `;
  const doubtful = await host.states([`--containerd=${host.directory}/none.sock`]);
  expect(doubtful[young]).toEqual(["unknown", expect.stringContaining(silent)]);

  const contained = await host.ipam(["ls"]);
  expect(contained.out).toContain("this is a container that does not see the host's processes");
  expect(contained.out).not.toContain("leaked");
  expect((await host.ipam(["gc", "--yes"])).out).toBe("");
  expect(host.files()).toContain(young);
});

test("an address of a subnet that the node had before is told apart", async () => {
  await host.add("old", { subnets: ["10.77.9.0/24"] });
  host.age();
  writeFileSync(host.subnetFile, "FLANNEL_NETWORK=10.77.0.0/16\nFLANNEL_SUBNET=10.77.1.1/24\nFLANNEL_MTU=1450\n");
  const { out, code } = await host.ipam(["check", "--own-pid-namespace"]);
  expect([out.split("\n"), code]).toEqual([
    [
      "cbr0: 10.77.1.0/24: 0 of 253 addresses taken: 0 used, 0 leaked, 0 unknown",
      `cbr0: 1 taken outside the ranges of now (by ${host.subnetFile}): 0 used, 1 leaked, 0 unknown`,
      "cbr0: to free it: flannelctl ipam gc --network=cbr0",
      "",
    ],
    1,
  ]);
});

test("gc waits for the lock that host-local takes, and looks again when it has it", async () => {
  const [leaked] = (await host.add("leaked")) as [string];
  const [anew] = (await host.add("anew")) as [string];
  const [held] = (await host.add("held")) as [string];
  const [back] = (await host.add("back")) as [string];
  host.age();
  const lock = join(host.dataDir, "cbr0/lock");
  await using holder = host.start(["flock", lock, "sh", "-c", `echo locked; read _ < ${host.directory}/go`]);
  run(`mkfifo ${host.directory}/go`);
  await holder.says(/locked/);
  const gc = host.ipam(GC);
  // It has the file open and waits.
  await until("gc at the lock", () =>
    run(`cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '`).includes(GC.join(" ")),
  );
  expect(await Promise.race([gc, Bun.sleep(300)])).toBeUndefined();
  expect(host.files()).toContain(leaked);
  // Who has the lock gives one address to another, one back, and a namespace gets the third.
  writeFileSync(join(host.dataDir, "cbr0", anew), "another\r\neth0");
  rmSync(join(host.dataDir, "cbr0", back));
  run(`ip -n ${host.namespace().name} address add ${held}/28 dev lo`);
  writeFileSync(`${host.directory}/go`, "\n");
  const { code, out, err } = await gc;
  expect([code, out]).toEqual([0, `freed ${leaked} of cbr0 (container leaked, eth0)\n`]);
  expect(err.split("\n").map((line) => line.replace(/^.*: /, ""))).toEqual([
    "it was given out anew meanwhile",
    expect.stringMatching(/^the namespace of \/run\/netns\/.* has it now$/),
    "it was given back meanwhile",
    "",
  ]);
  expect(host.files()).toEqual([anew, held, "last_reserved_ip.0", "lock"].toSorted());
});

test("gc beside plugins that come and go frees nothing of theirs", async () => {
  const wide = { subnets: ["10.77.0.0/22"] };
  for (let i = 0; i < 20; i++) await host.add(`leaked-${i}`, wide);
  host.age();
  const added = new Map<string, string>();
  const adding = (async () => {
    for (let i = 0; i < 60; i++) {
      const [address = ""] = await host.add(`new-${i}`, wide);
      added.set(address, `new-${i}`);
      if (i % 3 === 0) {
        await host.hostLocal("DEL", `new-${i}`, "eth0", wide);
        added.delete(address);
      }
    }
  })();
  const outcomes = [await host.ipam(GC), await host.ipam(GC)];
  await adding;
  expect(outcomes.map(({ code }) => code)).toEqual([0, 0]);
  expect(outcomes.flatMap(({ out }) => out.split("\n").filter((line) => line.startsWith("freed "))).length).toBe(20);
  const addresses = host.files().filter((name) => name.includes("10."));
  expect(addresses).toEqual([...added.keys()].toSorted());
});

test("nothing, and called wrongly", async () => {
  expect(await host.ipam(["ls"])).toEqual({ code: 0, out: "", err: `${host.dataDir} holds no address\n` });
  expect(await host.ipam(["check", "--network=x"])).toEqual({
    code: 0,
    out: "",
    err: expect.stringContaining(`${host.dataDir}/x holds no address\n`) as string,
  });
  mkdirSync(join(host.dataDir, "cbr0"), { recursive: true });
  expect((await host.ipam(["gc"])).code).toBe(2);
  expect((await host.ipam(["ls", "--older-than=soon"])).err).toContain("want a time such as 24h, 90m or 30s");
});
