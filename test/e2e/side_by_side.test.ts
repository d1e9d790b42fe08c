// Two flannelds on one host, each with its own store, network, VNI and subnet file, as clusters that share a machine have them: neither ever touches what
// is the other's. `ip monitor` is the witness: it hears every change, also one that is undone at once.

import { expect, test } from "bun:test";
import { becomes } from "./becomes.ts";
import { Observer } from "./drift.ts";
import type { Flanneld } from "./flanneld.ts";
import { type Node, Underlay } from "./nodes.ts";
import { Store } from "./store.ts";

interface Cluster {
  readonly vni: 1 | 2;
  readonly store: Store;
  start(): Flanneld;
}

const PEERS = [2, 3, 4];

function clusterOn(node: Node, vni: 1 | 2, store: Store): Cluster {
  return {
    vni,
    store,
    start: () => node.flanneld({ directory: `run${vni}`, storeFile: store.path }),
  };
}

async function prepare({ vni, store }: Cluster): Promise<void> {
  const Backend = { Type: "vxlan", VNI: vni };
  const networks = { Network: `10.${vni}.0.0/16`, IPv6Network: `fd00:${vni}::/48` };
  const ownFrom = { SubnetMin: `10.${vni}.100.0`, IPv6SubnetMin: `fd00:${vni}:0:100::` }; // clear of the peers
  await store.configure({ ...networks, ...ownFrom, EnableIPv6: true, Backend });
  for (const n of PEERS) await putPeer({ vni, store }, n);
}

async function putPeer({ vni, store }: Pick<Cluster, "vni" | "store">, n: number): Promise<void> {
  const data = (family: number) => ({ VNI: vni, VtepMAC: `02:00:00:0${family}:0${vni}:0${n}` });
  await store.put(keyOf(vni, n), {
    PublicIP: `192.168.77.${n}`,
    PublicIPv6: `fd00:77::${n}`,
    BackendType: "vxlan",
    BackendData: data(4),
    BackendV6Data: data(6),
  });
}

const keyOf = (vni: number, n: number) => `10.${vni}.${n}.0-24&fd00:${vni}:0:${n}::-64`;

/** How many routes one cluster has, over both families. */
function routes(node: Node, { vni }: Cluster): number {
  const lines = node.run("ip route show proto 70; ip -6 route show proto 70").split("\n");
  return lines.filter((line) => new RegExp(` dev flannel(-v6)?\\.${vni} `).test(line)).length;
}

/** Lines of the monitor that name a cluster's devices or networks; not the link-local addresses, which the kernel makes in its own time. */
function about({ vni }: Cluster, text: string): string[] {
  const mark = new RegExp(`flannel(-v6)?\\.${vni}\\b|\\b10\\.${vni}\\.\\d+\\.|\\bfd00:${vni}:`);
  return text.split("\n").filter((line) => mark.test(line) && !line.includes("fe80:"));
}

test("flanneld: two on one host never touch each other's objects", async () => {
  await using underlay = await Underlay.open({ nodes: 1 });
  const node = underlay.node(1);
  using storeA = await Store.open(`${underlay.directory}/a.db`);
  using storeB = await Store.open(`${underlay.directory}/b.db`);
  const [a, b] = [clusterOn(node, 1, storeA), clusterOn(node, 2, storeB)];
  node.run("ip nexthop add id 8 via 192.168.77.8 dev eth0 proto zebra; ip route add 10.8.0.0/16 nhid 8 proto zebra");
  for (const cluster of [a, b]) await prepare(cluster);
  const observer = await Observer.start(node);
  const all = 2 * PEERS.length;

  let first = a.start();
  await becomes(() => routes(node, a), all);
  let second: Flanneld | undefined;
  /** What happens to one cluster, and the whole time not a word about the other. */
  const steps: [string, Cluster, Cluster, () => Promise<unknown>][] = [
    ["the other starts", b, a, async () => (second = await b.start().ready())],
    ["a peer comes", a, b, () => putPeer(a, 5)],
    ["a peer leaves", a, b, () => a.store.remove(keyOf(1, 5))],
    ["a device is deleted", b, a, async () => node.run("ip link delete flannel.2; ip link delete flannel-v6.2")],
    ["a device goes down", a, b, async () => node.run("ip link set flannel.1 down; ip route flush dev flannel-v6.1")],
    [
      "one restarts, and sweeps what left meanwhile",
      a,
      b,
      async () => {
        await first.stop("SIGKILL");
        await a.store.remove(keyOf(1, 4));
        first = a.start();
        await becomes(() => routes(node, a), all - 2);
        await putPeer(a, 4);
      },
    ],
    [
      "the other restarts, and sweeps",
      b,
      a,
      async () => {
        await second?.stop();
        await b.store.remove(keyOf(2, 4));
        second = b.start();
        await becomes(() => routes(node, b), all - 2);
        await putPeer(b, 4);
      },
    ],
  ];
  for (const [title, changed, untouched, step] of steps) {
    await observer.quiet();
    const mark = await observer.caughtUp();
    await step();
    const wanted = title === "a peer comes" ? all + 2 : all;
    await becomes(() => routes(node, changed), wanted);
    await observer.quiet();
    const heard = observer.since(mark);
    expect([title, about(untouched, heard)]).toEqual([title, []]);
    expect(about(changed, heard)).not.toEqual([]);
    expect(/\bid 8 |10\.8\./.test(heard)).toBe(false);
  }
  expect(node.run("ip nexthop show id 8; ip route show 10.8.0.0/16").trim().split("\n")).toHaveLength(2);
});
