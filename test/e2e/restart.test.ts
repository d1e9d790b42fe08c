// flanneld stops, by request or not, and starts again: traffic does not notice, and what changed meanwhile is caught up with.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { becomes } from "./becomes.ts";
import { type Node, Underlay } from "./nodes.ts";
import { LATE, leaseKey, type PeerLease, type PeerStore, peerLease } from "./store.ts";
import { PingStream, TcpStream } from "./traffic.ts";

const SIGNALS = ["SIGTERM", "SIGKILL"] as const;

/** What peers and networks hold on to. */
async function identity(node: Node, store: PeerStore) {
  const { value } = await store.entry(leaseKey(node.subnet()));
  return { subnetEnv: readFileSync(node.subnetFile, "utf8"), link: node.link(), value };
}

test.each(SIGNALS)("flanneld: %s and a new start lose no packet and break no connection", async (signal) => {
  await using underlay = await Underlay.open();
  const [a, b] = [underlay.node(1), underlay.node(2)];
  const daemons = await Promise.all(underlay.nodes.map(async (node) => await node.flanneld().peers(1)));
  const before = await Promise.all(underlay.nodes.map((node) => identity(node, underlay.store)));

  const tcp = await TcpStream.start(a, b, 4);
  const pings = [await PingStream.start(a, b.overlay()), await PingStream.start(b, a.overlay())];
  for (const [i, node] of underlay.nodes.entries()) {
    const code = await daemons[i]?.stop(signal);
    expect(code).toBe(signal === "SIGTERM" ? 0 : 137);
    await Bun.sleep(300); // as a supervisor waits
    await node.flanneld().peers(1);
  }
  expect(await Promise.all(pings.map((ping) => ping.stop()))).toEqual([0, 0]);
  expect(await tcp.end()).toBe(0);
  expect(await Promise.all(underlay.nodes.map((node) => identity(node, underlay.store)))).toEqual(before);
});

/** All that node 1 has for these peers. */
function objectsOf(peers: readonly PeerLease[]): string[] {
  const lines = peers.flatMap(({ key, value }) => {
    const subnet = key.replace("-", "/");
    const gateway = subnet.replace("/24", "");
    return [
      `fdb ${value.BackendData.VtepMAC} dev flannel.1 dst ${value.PublicIP}`,
      `neighbour ${gateway} lladdr ${value.BackendData.VtepMAC} dev flannel.1`,
      `nexthop via ${gateway} dev flannel.1 onlink`,
      `route ${subnet} via ${gateway} dev flannel.1 onlink`,
    ];
  });
  return lines.sort();
}

const peerObjects = (node: Node) => node.objects().filter((line) => /^(fdb|neighbour|nexthop|route) /.test(line));

test.each(SIGNALS)(
  "flanneld: after %s, what changed meanwhile is caught up with, and nothing is left over",
  async (signal) => {
    await using underlay = await Underlay.open({ nodes: 1 });
    const [node, { store }] = [underlay.node(1), underlay];
    const [stays, leaves, moves, changes, comes] = [2, 3, 4, 5, LATE].map(peerLease) as [
      PeerLease,
      PeerLease,
      PeerLease,
      PeerLease,
      PeerLease,
    ];
    const moved = { ...moves, value: { ...moves.value, PublicIP: "192.168.77.44" } };
    const changed = { ...changes, value: { ...changes.value, BackendData: { VNI: 1, VtepMAC: "02:00:00:00:55:55" } } };
    for (const { key, value } of [stays, leaves, moves, changes]) await store.put(key, value);
    const first = node.flanneld();
    await becomes(() => peerObjects(node), objectsOf([stays, leaves, moves, changes]));

    await first.stop(signal);
    expect(peerObjects(node)).toEqual(objectsOf([stays, leaves, moves, changes]));
    await store.remove(leaves.key);
    for (const { key, value } of [moved, changed, comes]) await store.put(key, value);
    node.flanneld();
    await becomes(() => peerObjects(node), objectsOf([stays, moved, changed, comes]));
  },
);
