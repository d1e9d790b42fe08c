// Drift: flannel's objects changed by others are put right, one by one, and also when it could not hear of it.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { FAMILIES } from "../../src/ip/family.ts";
import { run } from "../kernel/linux_world.ts";
import { becomes } from "./becomes.ts";
import { Observer, repairAll, repairTable } from "./drift.ts";
import type { Flanneld } from "./flanneld.ts";
import { DUAL_STACK, type Node, Underlay } from "./nodes.ts";

test("flanneld: every drift of the table is repaired, and packets flow", async () => {
  await using underlay = await Underlay.open({ nodes: 3, config: DUAL_STACK });
  const [node, ...peers] = underlay.nodes;
  const [flanneld] = await Promise.all(underlay.nodes.map(async (each) => await each.flanneld().peers(2)));
  if (!node || !flanneld) throw new Error("unreachable");
  const observer = await Observer.start(node);
  const repairs = await repairAll(observer, peers, flanneld);
  console.log(`drift, and how long until repaired:\n${repairTable(repairs)}`);
  for (const peer of peers) {
    for (const family of FAMILIES) expect(await node.ping(peer.overlay(family))).toBe(3);
  }
}, 60_000);

/** Damage of every kind to one node at once. */
const EVERYTHING = [
  "ip link delete flannel-v6.1",
  "ip link set flannel.1 down",
  "ip link set flannel.1 address 02:cc:cc:cc:cc:cc mtu 1280",
  "ip address flush dev flannel.1",
  "ip address add 10.5.250.1/24 dev flannel.1",
  "bridge fdb add 02:bb:bb:bb:bb:bb dev flannel.1 dst 192.168.77.250 self permanent",
  "ip link set flannel.1 up",
  "ip neighbour add 10.5.251.0 lladdr 02:bb:bb:bb:bb:bb dev flannel.1 nud permanent",
  "ip route add 10.5.251.0/24 via 10.5.251.0 dev flannel.1 onlink proto 70",
].join("\n");

/** More changes than the socket of flanneld, which does not read, can hold. */
function overflow(node: Node): void {
  const change = (mac: number) => `neighbour replace 192.168.77.200 lladdr 02:00:00:00:00:0${mac} dev eth0\n`;
  run(`ip -n ${node.namespace.name} -batch -`, `${change(1)}${change(2)}`.repeat(60_000));
}

/** Messages that the kernel could not deliver to a process: the ninth column of /proc/net/netlink. */
function drops({ pid }: Flanneld): number {
  const rows = readFileSync(`/proc/${pid}/net/netlink`, "utf8").trim().split("\n").slice(1);
  const sockets = rows.map((row) => row.trim().split(/\s+/)).filter((columns) => columns[1] === "0");
  return sockets.reduce((sum, columns) => sum + Number(columns[8]), 0);
}

const stopped: [string, (node: Node) => void, boolean][] = [
  ["several kinds at once", (node) => void node.run(EVERYTHING), false],
  [
    "more than the socket holds",
    (node) => {
      overflow(node);
      node.run(EVERYTHING);
    },
    true,
  ],
];
test.each(stopped)(
  "flanneld: drift while it is stopped is repaired when it goes on: %s",
  async (_title, damage, dropping) => {
    await using underlay = await Underlay.open({ config: DUAL_STACK });
    const [node, peer] = [underlay.node(1), underlay.node(2)];
    const [flanneld] = await Promise.all(underlay.nodes.map(async (each) => await each.flanneld().peers(1)));
    if (!flanneld) throw new Error("unreachable");
    const before = node.objects();
    flanneld.child.kill("SIGSTOP");
    damage(node);
    expect(drops(flanneld) > 0).toBe(dropping);
    expect(node.objects()).not.toEqual(before);
    flanneld.child.kill("SIGCONT");
    await becomes(() => node.objects(), before);
    for (const family of FAMILIES) expect(await node.ping(peer.overlay(family))).toBe(3);
  },
);
