// The clock is stepped a day forward and then two days back, in a virtual machine, while leases live for seconds: nobody loses a lease, and no route goes.
// Every store is tried at once: both generations of etcd, where etcd's clock is stepped too (inside) and where it is not (outside), and the embedded store.
// VM_VERBOSE shows what the guest says. What goes on in there is clock.sh.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FLANNELD } from "../e2e/nodes.ts";
import { leaseKey, Store } from "../e2e/store.ts";
import { EtcdCluster } from "../etcd/cluster.ts";
import { type GuestResult, runGuest } from "./guest.ts";

/** A lease is renewed at the half of its life: that must be more than what a loaded machine may stop the guest for. A phase outlasts every lease. */
const [TTL_S, PHASE_S] = [30, 40];
const LIMIT_MS = 400_000;
const OUTSIDE = "10.0.2.100:2379";
const CONFIG = "/coreos.com/network/config";

const ALL = ["v3-inside", "v3-outside", "v2-outside", "v2-inside", "file"] as const;
/** etcd v2 keeps the ends of keys by the wall clock of its leader: there, every lease has ended after a step forward. */
const STEADY = ALL.filter((name) => name !== "v2-inside");
const PHASES = ["before", "forward", "back"] as const;

/** Numbers that clock.sh does not give to networks of its own. */
const network = (number: number) => ({ Network: `10.${number}.0.0/16`, Backend: { Type: "vxlan" } });

const directory = mkdtempSync(join(tmpdir(), "flannel-clock-"));
let guest: GuestResult;

beforeAll(async () => {
  await using etcd = await EtcdCluster.start({ enableV2: true });
  etcd.ctl("put", CONFIG, JSON.stringify(network(13)));
  etcd.ctl2("set", CONFIG, JSON.stringify(network(12)));
  const storeFile = join(directory, "store.db");
  const store = await Store.open(storeFile);
  await store.configure(network(15));
  store[Symbol.dispose]();
  const variables = { NETWORKS: ALL.join(" "), OUTSIDE, TTL: TTL_S, PHASE_S };
  const assignments = Object.entries(variables).map(([name, value]) => `${name}='${value}'\n`);
  guest = await runGuest({
    script: assignments.join("") + readFileSync(join(import.meta.dir, "clock.sh"), "utf8"),
    programs: ["ip", "nsenter", "ping", "etcd", "etcdctl", FLANNELD],
    modules: ["virtio_pci", "virtio_net", "bridge", "veth", "vxlan"],
    files: { "/store.db": storeFile },
    forwards: { [OUTSIDE]: new URL(etcd.member(1).url).host },
    memoryMib: 2048,
    processors: 2,
    timeLimitMs: LIMIT_MS,
    onLine: process.env.VM_VERBOSE ? console.log : undefined,
  });
  if (guest.status !== 0) throw new Error(`clock.sh: exit ${guest.status}\n${guest.output}`);
}, LIMIT_MS + 60_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string): string {
  const text = guest.files.get(name);
  if (text === undefined) throw new Error(`clock.sh left no ${name}, only ${[...guest.files.keys()].sort()}`);
  return text.trimEnd();
}

const lines = (name: string, pattern: RegExp) =>
  file(name)
    .split("\n")
    .filter((line) => pattern.test(line));

/** The destinations of flannel's routes on a node. */
const routes = (name: string, n: number, phase: string) =>
  lines(`${name}/routes-${n}-${phase}`, /./).map((line) => line.split(" ")[0] ?? "");
const subnet = (name: string, n: number, phase: string) => file(`${name}/subnet-${n}-${phase}`);

describe.each(STEADY)("%s", (name) => {
  test("nobody loses a lease, or repairs anything", () => {
    const slow = /no answer within \d+ s/; // an emulated etcd, on a machine that is busy
    for (const n of [1, 2, 3]) {
      const told = lines(`${name}/log-${n}`, /^E|lost|given up|repaired/);
      expect(told.filter((line) => !slow.test(line))).toEqual([]);
    }
  });

  test("leases are renewed after each step as before", () => {
    for (const n of [1, 2]) {
      const [, forward = 0, back = 0] = PHASES.map((phase, i, all) => {
        const until = (at: string | undefined) => (at ? Number(file(`${name}/renewed-${n}-${at}`)) : 0);
        return until(phase) - until(all[i - 1]);
      });
      expect(forward).toBeGreaterThanOrEqual(2);
      expect(back).toBeGreaterThanOrEqual(2);
    }
  });

  test("nothing of a peer is removed at any time, and no ping is lost", () => {
    // The kernel's own multicast neighbours come and go.
    for (const n of [1, 2]) expect(lines(`${name}/monitor-${n}`, /^Deleted (?!ff02:).* dev flannel\.1/)).toEqual([]);
    const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(file(`${name}/ping`)) ?? [];
    expect(Number(sent)).toBeGreaterThan(2 * PHASE_S * 4);
    expect(received).toBe(sent);
  });
});

describe.each(ALL)("%s", (name) => {
  test("subnets and routes are the same after each step, and a node that starts in between joins", () => {
    const subnets = [1, 2].map((n) => subnet(name, n, "before"));
    const third = subnet(name, 3, "forward");
    expect([routes(name, 1, "before"), routes(name, 2, "before")]).toEqual(subnets.toReversed().map((one) => [one]));
    for (const phase of ["forward", "back"]) {
      const all = [1, 2, 3].map((n) => subnet(name, n, phase));
      expect(all).toEqual([...subnets, third]);
      for (const n of [1, 2, 3]) {
        expect(routes(name, n, phase).sort()).toEqual(all.filter((_, i) => i !== n - 1).sort());
      }
    }
    expect(file(`${name}/ping-third`)).toContain("5 packets transmitted, 5 received");
  });
});

describe.each(ALL.filter((name) => name !== "file"))("%s", (name) => {
  test("etcd has every node's lease after each step, and none with more than its life left", () => {
    for (const phase of PHASES) {
      const found = lines(`${name}/keys-${phase}`, /./).map((line) => line.split(" "));
      const subnets = [1, 2, ...(phase === "before" ? [] : [3])].map((n) => subnet(name, n, phase));
      expect(found.map(([key]) => key)).toEqual(subnets.map(leaseKey).sort());
      for (const [, left] of found) {
        expect(Number(left)).toBeGreaterThan(0);
        expect(Number(left)).toBeLessThanOrEqual(TTL_S + 1);
      }
    }
  });
});

test("v2-inside: after the step forward every lease has ended, and each node has its own again", () => {
  for (const n of [1, 2]) expect(lines(`v2-inside/log-${n}`, /Lease lost/)).toHaveLength(1);
});
