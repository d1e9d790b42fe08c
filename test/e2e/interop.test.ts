// Networks of Go flannel's daemons and ours on one etcd, in both directions and both generations. The Go programs are given by FLANNEL_GO and
// FLANNEL_GO_V071 (go_flannel.ts); docs/interop.md has a run with both. Without them, what they leave in etcd is replayed, and our daemons live with that.

import { describe, expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { FAMILIES } from "../../src/ip/family.ts";
import { type Api, recording, replay, stored } from "../etcd/recorded.ts";
import { becomes } from "./becomes.ts";
import { EtcdStore } from "./etcd_store.ts";
import { GO_FLANNELS, startGo } from "./go_flannel.ts";
import { DUAL_STACK, FLANNELD, type Node, Underlay, type UnderlayOptions } from "./nodes.ts";
import { type Program, until } from "./program.ts";
import { leaseKey } from "./store.ts";
import { PingStream } from "./traffic.ts";

const TEST_MS = 120_000;
const DAY_SECONDS = 86_400;
const FLANNELCTL = join(dirname(FLANNELD), "flannelctl");

async function open(api: Api, nodes: number, options: UnderlayOptions = {}): Promise<Underlay> {
  return Underlay.open({ nodes, families: ["ipv4"], etcd: { members: 1, enableV2: true, api }, ...options });
}

/** The numbers of the nodes that a node's FDB knows: where its packets may go, whoever wrote it. */
function peersOf(node: Node): number[] {
  const dst = /^fdb .* dst 192\.168\.77\.(\d+)$/;
  const numbers = node.objects().map((line) => Number(dst.exec(line)?.[1] ?? 0));
  return numbers.filter((n) => n > 0).sort((a, b) => a - b);
}

async function reach(nodes: readonly Node[]): Promise<void> {
  for (const from of nodes) {
    const others = nodes.filter((to) => to !== from);
    await becomes(
      () => peersOf(from),
      others.map(({ n }) => n),
    );
    for (const to of others) expect([from.n, to.n, await from.ping(to.overlay())]).toEqual([from.n, to.n, 3]);
  }
}

describe.each(["3", "2"] as const)("what Go flannel leaves in etcd v%s", (api) => {
  const recorded = recording(api, "vxlan");

  test("our daemon programs the recorded peers, and its own lease has the recorded form and life time", async () => {
    await using underlay = await open(api, 1, { config: JSON.parse(recorded.config) });
    replay(underlay.cluster, api, recorded);
    const node = underlay.node(1);
    await node.flanneld().peers(recorded.leases.length);
    for (const { key, value } of recorded.leases) {
      const { PublicIP, BackendData } = JSON.parse(value);
      const [base] = key.split("-");
      const lines = node.objects();
      expect(lines).toContain(`fdb ${BackendData.VtepMAC} dev flannel.1 dst ${PublicIP}`);
      expect(lines).toContain(`neighbour ${base} lladdr ${BackendData.VtepMAC} dev flannel.1`);
      expect(lines).toContain(`route ${base}/24 via ${base} dev flannel.1 onlink`);
    }
    const own = stored(underlay.cluster, api, leaseKey(node.subnet()));
    expect(own.value).toBe(writtenAs(recorded.leases[0]?.value ?? "", api, node));
    expect(own.ttlSeconds).toBe(DAY_SECONDS);
  });
});

/** A recorded value as `node` would write it: its address, its MAC and, in v2, the VNI that v0.7.1 did not say. */
function writtenAs(value: string, api: Api, node: Node): string {
  return value
    .replace(/"PublicIP":"[^"]*"/, `"PublicIP":"${node.address.ipv4}"`)
    .replace(/"VtepMAC":"[^"]*"/, `${api === "2" ? '"VNI":1,' : ""}"VtepMAC":"${node.link()?.mac}"`);
}

describe.each(GO_FLANNELS)("$title", (go) => {
  const { api } = go;
  /** A node's daemon, of either kind. */
  type Start = (underlay: Underlay, node: Node) => Promise<Program>;
  const theirs: Start = (underlay, node) => startGo(go, underlay, node);
  const ours: Start = (_, node) => node.flanneld().ready();

  test.each([
    ["Go first", [theirs, ours, theirs, ours]],
    ["ours first", [ours, theirs, ours, theirs]],
  ])(
    "%s: whoever joins reaches all, whoever leaves is gone everywhere, whoever starts again keeps its subnet",
    async (_title, starts) => {
      await using underlay = await open(api, 4);
      const store = new EtcdStore(underlay.cluster, api);
      const daemons: Program[] = [];
      for (const [i, start] of starts.entries()) {
        daemons.push(await start(underlay, underlay.node(i + 1)));
        await reach(underlay.nodes.slice(0, i + 1));
      }
      const keys = underlay.nodes.map((node) => leaseKey(node.subnet()));
      expect(store.keys()).toEqual(keys.toSorted());
      for (const key of keys) expect(stored(underlay.cluster, api, key).ttlSeconds).toBe(DAY_SECONDS);

      // The first two nodes, one of each kind, start again while the other two talk to them.
      for (const n of [1, 2]) {
        const streams = await Promise.all(
          [3, 4].map((from) => PingStream.start(underlay.node(from), underlay.node(n).overlay())),
        );
        const before = underlay.node(n).link();
        await daemons[n - 1]?.stop();
        await starts[n - 1]?.(underlay, underlay.node(n));
        expect(await Promise.all(streams.map((stream) => stream.stop()))).toEqual([0, 0]);
        expect([leaseKey(underlay.node(n).subnet()), underlay.node(n).link()]).toEqual([keys[n - 1] ?? "", before]);
      }
      await reach(underlay.nodes);

      // The last two, one of each kind, leave.
      for (const n of [4, 3]) {
        await daemons[n - 1]?.stop();
        store.remove(keys[n - 1] ?? "");
        const rest = underlay.nodes.slice(0, n - 1);
        for (const node of rest)
          await becomes(
            () => peersOf(node),
            rest.filter((each) => each !== node).map((each) => each.n),
          );
        await reach(rest);
      }
    },
    TEST_MS,
  );

  test.each([
    ["Go's by ours", [theirs, ours]],
    ["ours by Go's", [ours, theirs]],
    ["Go's by ours, and ours by Go's again", [theirs, ours, theirs]],
  ])(
    "a node's daemon is replaced: %s, with subnet, device and MAC kept and no packet lost in either direction",
    async (_title, starts) => {
      await using underlay = await open(api, 3);
      const [node, other, mate] = [underlay.node(1), underlay.node(2), underlay.node(3)];
      await theirs(underlay, other);
      await ours(underlay, mate);
      let daemon: Program | undefined;
      let before: unknown;
      for (const start of starts) {
        const streams = before
          ? await Promise.all([
              PingStream.start(node, other.overlay()),
              PingStream.start(node, mate.overlay()),
              PingStream.start(other, node.overlay()),
              PingStream.start(mate, node.overlay()),
            ])
          : [];
        await daemon?.stop();
        daemon = await start(underlay, node);
        expect(await Promise.all(streams.map((stream) => stream.stop()))).toEqual(streams.map(() => 0));
        const now = { subnet: node.subnet(), link: node.link(), addresses: addressesOf(node) };
        expect(now).toEqual((before ?? now) as typeof now);
        before = now;
        await reach(underlay.nodes);
      }
      expect(new EtcdStore(underlay.cluster, api).keys()).toHaveLength(3);
      if (!go.routePerPeer && starts.at(-1) === theirs) {
        // It has no eyes for what ours left, which outlives the peers: docs/interop.md says how to clear it away.
        node.run("ip nexthop flush protocol 70; ip neighbour flush dev flannel.1 nud permanent");
        await reach(underlay.nodes);
      }
    },
    TEST_MS,
  );

  test(
    "reservations: ours stays one; Go's is whatever Go makes of it, and a peer of ours all the same",
    async () => {
      await using underlay = await open(api, 2);
      const store = new EtcdStore(underlay.cluster, api);
      const [mine, its] = [underlay.node(1), underlay.node(2)];
      store.set("10.5.201.0-24", JSON.stringify({ PublicIP: mine.address.ipv4 }));
      store.set("10.5.202.0-24", JSON.stringify({ PublicIP: its.address.ipv4 }));
      const flanneld = await ours(underlay, mine);
      const goFlanneld = await theirs(underlay, its);
      expect([mine.subnet(), its.subnet()]).toEqual(["10.5.201.0/24", "10.5.202.0/24"]);
      await reach(underlay.nodes);
      const ttlOf = (key: string) => stored(underlay.cluster, api, key).ttlSeconds;
      expect(ttlOf("10.5.201.0-24")).toBeUndefined();
      expect(ttlOf("10.5.202.0-24")).toBe(go.endsReservations ? DAY_SECONDS : undefined);
      // Each takes the other's place: ours keeps whichever it finds, Go makes of ours what it made of its own.
      await Promise.all([flanneld.stop(), goFlanneld.stop()]);
      await ours(underlay, its);
      await theirs(underlay, mine);
      await reach(underlay.nodes);
      expect([mine.subnet(), its.subnet()]).toEqual(["10.5.201.0/24", "10.5.202.0/24"]);
      const afterGo = go.endsReservations ? DAY_SECONDS : undefined;
      expect([ttlOf("10.5.201.0-24"), ttlOf("10.5.202.0-24")]).toEqual([afterGo, afterGo]);
    },
    TEST_MS,
  );

  test(
    "our renewals: Go keeps our route and loses no packet, for longer than our lease's life time",
    async () => {
      await using underlay = await open(api, 2);
      const [mine, its] = [underlay.node(1), underlay.node(2)];
      await mine.flanneld({ flags: ["--lease-ttl=6"] }).ready();
      const goFlanneld = await theirs(underlay, its);
      await reach(underlay.nodes);
      const said = goFlanneld.output;
      const pings = await PingStream.start(its, mine.overlay());
      const { leftSeconds } = stored(underlay.cluster, api, leaseKey(mine.subnet()));
      expect(leftSeconds).toBeLessThanOrEqual(6);
      await Bun.sleep(15_000);
      expect(await pings.stop()).toBe(0);
      expect(goFlanneld.output).toBe(said);
    },
    TEST_MS,
  );

  test(
    "flannelctl revokes and reserves leases: Go hears of it, and of what comes after",
    async () => {
      await using underlay = await open(api, 2);
      const store = new EtcdStore(underlay.cluster, api);
      const [mine, its] = [underlay.node(1), underlay.node(2)];
      await ours(underlay, mine);
      await theirs(underlay, its);
      await reach(underlay.nodes);
      const ctl = async (...words: string[]) => {
        const ended = await mine.finished([FLANNELCTL, ...words, ...underlay.storeFlags]);
        expect([ended.code, ended.code === 0 ? "" : ended.output]).toEqual([0, ""]);
      };
      store.put(151);
      for (const node of underlay.nodes) await becomes(() => peersOf(node).includes(151), true);
      await ctl("lease", "revoke", "10.5.151.0/24", "--yes");
      for (const node of underlay.nodes) await becomes(() => peersOf(node).includes(151), false);
      await ctl("reserve", mine.subnet(), `--public-ip=${mine.address.ipv4}`);
      expect(stored(underlay.cluster, api, leaseKey(mine.subnet())).ttlSeconds).toBeUndefined();
      store.put(152);
      for (const node of underlay.nodes) await becomes(() => peersOf(node).includes(152), true);
      store.remove("10.5.152.0-24");
      await reach(underlay.nodes);
    },
    TEST_MS,
  );

  test(
    "our lease is deleted by hand: ours is back with the same subnet, and Go reaches it again",
    async () => {
      await using underlay = await open(api, 2);
      const store = new EtcdStore(underlay.cluster, api);
      const [mine, its] = [underlay.node(1), underlay.node(2)];
      const goFlanneld = await theirs(underlay, its);
      const flanneld = await ours(underlay, mine);
      await reach(underlay.nodes);
      const subnet = mine.subnet();
      store.remove(leaseKey(subnet));
      await flanneld.says(/Lease lost/);
      await until("the lease again", () => store.keys().includes(leaseKey(subnet)), flanneld);
      expect(mine.subnet()).toBe(subnet);
      await reach(underlay.nodes);
      expect(goFlanneld.isAlive).toBe(true);
    },
    TEST_MS,
  );

  test(
    "Go's lease is deleted by hand: ours loses the peer, and has it again with the subnet that it comes back with",
    async () => {
      await using underlay = await open(api, 2);
      const store = new EtcdStore(underlay.cluster, api);
      const [mine, its] = [underlay.node(1), underlay.node(2)];
      await ours(underlay, mine);
      const goFlanneld = await theirs(underlay, its);
      await reach(underlay.nodes);
      const key = leaseKey(its.subnet());
      store.remove(key);
      if (go.endsWithoutLease) {
        expect(await goFlanneld.exit()).toBe(0);
        await becomes(() => peersOf(mine), []);
        await theirs(underlay, its);
        await reach(underlay.nodes);
        return;
      }
      await until("another subnet", () => leaseKey(its.subnet()) !== key, goFlanneld);
      await becomes(() => store.keys(), [mine, its].map((node) => leaseKey(node.subnet())).sort());
      await until("a route to it", () => mine.objects().some((line) => line.startsWith(`route ${its.subnet()} `)));
      expect(await mine.ping(its.overlay())).toBe(3);
      // Its flannel.1 has the old address before the new one, and nobody routes to the old one any more.
      const ping = await its.finished([
        "ping",
        "-n",
        "-q",
        "-c",
        "3",
        "-i",
        "0.05",
        "-I",
        its.overlay(),
        mine.overlay(),
      ]);
      expect(ping.output).toContain(" 3 received");
    },
    TEST_MS,
  );

  if (go.dualStack) {
    test(
      "dual stack: both families reach everybody",
      async () => {
        await using underlay = await open(api, 4, { families: FAMILIES, config: DUAL_STACK });
        for (const [i, start] of [theirs, ours, theirs, ours].entries()) await start(underlay, underlay.node(i + 1));
        for (const from of underlay.nodes) {
          for (const to of underlay.nodes) {
            for (const family of FAMILIES) {
              if (to === from) continue;
              await becomes(async () => [from.n, to.n, await from.ping(to.overlay(family), 1)], [from.n, to.n, 1]);
            }
          }
        }
      },
      TEST_MS,
    );
  }

  if (process.env.FLANNEL_GO_RENEWALS) {
    test(
      "Go's renewals: nothing changes on our side, and nothing is said",
      async () => {
        await using underlay = await open(api, 2);
        const [mine, its] = [underlay.node(1), underlay.node(2)];
        const flanneld = await mine.flanneld().ready();
        const goFlanneld = await startGo(go, underlay, its, ["-subnet-lease-renew-margin=1439"]);
        await reach(underlay.nodes);
        await Bun.sleep(5_000); // the device's own IPv6 address settles
        const monitor = mine.spawn(["stdbuf", "-oL", "ip", "monitor", "link", "address", "route", "nexthop"]);
        const fdb = mine.spawn(["stdbuf", "-oL", "bridge", "monitor", "fdb"]);
        const [said, objects] = [flanneld.output, mine.objects()];
        const first = stored(underlay.cluster, api, leaseKey(its.subnet()));
        await until("a renewal", () => /Lease renewed/.test(goFlanneld.output), goFlanneld, TEST_MS);
        await Bun.sleep(2_000);
        const second = stored(underlay.cluster, api, leaseKey(its.subnet()));
        expect(second.value).toBe(first.value);
        expect(second.leftSeconds ?? 0).toBeGreaterThan(DAY_SECONDS - 30);
        expect([flanneld.output, monitor.output, fdb.output]).toEqual([said, "", ""]);
        expect(mine.objects()).toEqual(objects);
        await reach(underlay.nodes);
      },
      TEST_MS,
    );
  }
});

function addressesOf(node: Node): string[] {
  return node.objects().filter((line) => line.startsWith("address "));
}
