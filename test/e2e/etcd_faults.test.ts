// What happens to an etcd cluster of three members, in both generations of its API, while flannelds run on it: whatever it is, nobody loses a route that
// it should keep, or keeps one that it should lose.

import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../kernel/linux_world.ts";
import { becomes } from "./becomes.ts";
import { open, surviveOutage } from "./etcd_network.ts";
import { EtcdStore } from "./etcd_store.ts";
import type { Flanneld } from "./flanneld.ts";
import { CHANGES, COMES, LEAVES, NOTICE_MS, route, routesOf, STAYS, unreachable } from "./made_peers.ts";
import { NETWORK, Underlay } from "./nodes.ts";
import { Program, until } from "./program.ts";
import { leaseKey } from "./store.ts";
import { PingStream } from "./traffic.ts";

const TEST_MS = 120_000;
describe.each(["3", "2"] as const)("etcd v%s", (api) => {
  test(
    "the leader is killed: events go on flowing, and nothing is lost",
    async () => {
      const { underlay, store, node } = await open(api, 2);
      await using _ = underlay;
      const before = routesOf(node);
      const pings = await PingStream.start(node, underlay.node(2).overlay());
      const leader = underlay.cluster.leader();
      await leader.stop("SIGKILL");
      const alive = underlay.cluster.members.filter(({ runs }) => runs).map(({ url }) => url);
      await underlay.cluster.healthy(alive);
      store.put(COMES);
      for (const each of underlay.nodes) await until("the new route", () => routesOf(each).includes(route(COMES)));
      leader.start();
      await underlay.cluster.healthy();
      store.remove(leaseKey(route(COMES)));
      await becomes(() => routesOf(node), before);
      expect(await pings.stop()).toBe(0);
    },
    TEST_MS,
  );

  test(
    "all members are killed: everything stays, and what changed is picked up when they are back",
    async () => {
      const { underlay, store, node, flanneld } = await open(api, 2);
      await using _ = underlay;
      const before = node.objects();
      const pings = await PingStream.start(node, underlay.node(2).overlay());
      await Promise.all(underlay.cluster.members.map((member) => member.stop("SIGKILL")));
      await unreachable(flanneld);
      await Bun.sleep(3_000);
      expect(node.objects()).toEqual(before);
      for (const member of underlay.cluster.members) member.start();
      await underlay.cluster.healthy();
      store.put(COMES);
      store.remove(leaseKey(route(LEAVES)));
      await becomes(
        () => routesOf(node).sort(),
        [underlay.node(2).subnet(), route(STAYS), route(CHANGES), route(COMES)].sort(),
      );
      await until("told as reachable", () => flanneld.status?.store?.reachable === true, flanneld);
      expect(flanneld.lines(/Lease lost/)).toEqual([]);
      expect(await pings.stop()).toBe(0);
    },
    TEST_MS,
  );

  test(
    "a partition drops packets while the store changes and forgets: afterwards the node has it all",
    async () => {
      await surviveOutage(api, 0);
    },
    TEST_MS,
  );

  test.each([
    ["the same cluster with an older state", {}],
    ["another cluster", { "--initial-cluster-token": "another" }],
  ])(
    "all data are lost, and what comes back is %s: nodes write their leases again, others stay for the grace",
    async (_title, changes) => {
      const { underlay, store, node, daemons } = await open(api, 2, ["--store-loss-grace=6"]);
      await using _ = underlay;
      const other = underlay.node(2);
      const subnets = [node.subnet(), other.subnet()];
      const pings = await PingStream.start(node, other.overlay());
      await Promise.all(underlay.cluster.members.map((member) => member.stop("SIGKILL")));
      for (const member of underlay.cluster.members) {
        member.wipe();
        member.start(changes);
      }
      await underlay.cluster.healthy();
      await becomes(() => store.keys(), subnets.map(leaseKey).sort(), NOTICE_MS);
      expect(routesOf(node)).toContain(route(STAYS));
      for (const daemon of daemons) await daemon.says(/the store has lost its data/);
      await becomes(() => routesOf(node), [other.subnet()], NOTICE_MS);
      expect([node.subnet(), other.subnet()]).toEqual(subnets);
      expect(await pings.stop()).toBe(0);
    },
    TEST_MS,
  );

  test(
    "a lease is deleted by hand: acquired again, the same subnet, and the peer has its route again",
    async () => {
      const { underlay, store, node, flanneld } = await open(api, 2);
      await using _ = underlay;
      const [subnet, other] = [node.subnet(), underlay.node(2)];
      const before = node.objects();
      if (api === "2") store.remove(leaseKey(subnet));
      else {
        const list = underlay.cluster.ctl("lease", "list").split("\n").slice(1);
        for (const id of list)
          if (underlay.cluster.ctl("lease", "timetolive", id, "--keys").includes(leaseKey(subnet)))
            underlay.cluster.ctl("lease", "revoke", id);
      }
      await flanneld.says(/Lease lost/);
      await until("the lease again", () => store.keys().includes(leaseKey(subnet)), flanneld);
      await until("the peer's route again", () => routesOf(other).includes(subnet));
      expect([node.subnet(), node.objects()]).toEqual([subnet, before]);
    },
    TEST_MS,
  );

  test(
    "twenty daemons that start at once over twenty subnets get one each",
    async () => {
      const config = { ...NETWORK, SubnetLen: 28, SubnetMin: "10.5.0.16", SubnetMax: "10.5.1.64" };
      await using underlay = await Underlay.open({
        nodes: 20,
        families: ["ipv4"],
        config,
        etcd: { members: 3, enableV2: true, api },
      });
      const daemons = underlay.nodes.map((node) => node.flanneld());
      await Promise.all(daemons.map((daemon) => daemon.peers(19)));
      const subnets = underlay.nodes.map((node) => node.subnet());
      expect(new Set(subnets).size).toBe(20);
      expect(new EtcdStore(underlay.cluster, api).keys()).toEqual(subnets.map(leaseKey).sort());
      expect(daemons.flatMap((daemon) => daemon.lines(/Lease lost/))).toEqual([]);
    },
    TEST_MS,
  );
});

/** A disk of a few hundred MiB, in a mount namespace of its own that the holder keeps. */
class SmallDisk implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "flannel-disk-"));
  readonly #holder: Program;

  private constructor() {
    const script = `mount -t tmpfs -o size=450m tmpfs ${this.directory}; echo holding; exec sleep infinity`;
    const command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script];
    this.#holder = new Program(command, `${this.directory}.log`);
  }

  static async open(): Promise<SmallDisk> {
    const disk = new SmallDisk();
    await disk.#holder.says(/holding/);
    return disk;
  }

  get pid(): number {
    return this.#holder.pid;
  }

  fill(): void {
    this.#run(`dd if=/dev/zero of=${this.directory}/filling bs=1M 2>/dev/null || true`);
  }

  free(): void {
    this.#run(`rm ${this.directory}/filling`);
  }

  #run(script: string): void {
    run(`nsenter --mount=/proc/${this.pid}/ns/mnt sh -ec '${script}'`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
    rmSync(`${this.directory}.log`, { force: true });
  }
}

test(
  "the disk of all members is full and they crash: everything stays, and goes on when there is room and they are started",
  async () => {
    await using disk = await SmallDisk.open();
    const { directory, pid } = disk;
    const etcd = { members: 3, api: "3", disk: { directory, pid } } as const;
    await using underlay = await Underlay.open({ nodes: 2, families: ["ipv4"], etcd });
    const [{ cluster }, node, other] = [underlay, underlay.node(1), underlay.node(2)];
    const daemons = underlay.nodes.map((each) => each.flanneld());
    await Promise.all(daemons.map((daemon) => daemon.peers(1)));
    const before = node.objects();
    const pings = await PingStream.start(node, other.overlay());
    disk.fill();
    const value = "x".repeat(100_000);
    await until("a crash of all", () => {
      cluster.try(["put", "/elsewhere", value]);
      return cluster.members.every(({ runs }) => !runs);
    });
    for (const { log } of cluster.members) expect(log).toContain("no space left on device");
    await unreachable(daemons[0] as Flanneld);
    expect(node.objects()).toEqual(before);
    disk.free();
    for (const member of cluster.members) member.start();
    await cluster.healthy();
    new EtcdStore(cluster, "3").put(COMES);
    for (const each of [node, other]) await until("the new route", () => routesOf(each).includes(route(COMES)));
    expect(daemons.flatMap((daemon) => daemon.lines(/Lease lost/))).toEqual([]);
    expect(await pings.stop()).toBe(0);
  },
  TEST_MS,
);

test(
  "etcd v3 has used up its quota: what runs goes on, a new node says why it waits and joins when there is room again",
  async () => {
    await using underlay = await Underlay.open({
      nodes: 2,
      families: ["ipv4"],
      etcd: { members: 3, api: "3", flags: ["--quota-backend-bytes=4194304"] },
    });
    const { cluster } = underlay;
    const [first, second] = [underlay.node(1), underlay.node(2)];
    const running = await first.flanneld({ flags: ["--lease-ttl=10"] }).ready();
    const value = "x".repeat(100_000);
    let full = false;
    for (let n = 0; n < 200 && !full; n++) full = cluster.try(["put", `/elsewhere/${n % 4}`, value]).code !== 0;
    expect(cluster.ctl("alarm", "list")).toContain("NOSPACE");
    const late = second.flanneld();
    await late.says(/NOSPACE|database space exceeded/);
    expect(late.status?.phase).not.toBe("ready");
    await Bun.sleep(11_000); // longer than the running daemon's lease
    expect(running.lines(/Lease lost/)).toEqual([]);
    const [{ Status }] = JSON.parse(cluster.ctl("endpoint", "status", "-w", "json")) as [
      { Status: { header: { revision: number } } },
    ];
    cluster.ctl("compact", String(Status.header.revision));
    cluster.ctl("defrag");
    cluster.ctl("alarm", "disarm");
    await Promise.all([running.peers(1), late.peers(1)]);
  },
  TEST_MS,
);
