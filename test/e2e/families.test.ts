// Which address families a network may have, with the packets to prove it.

import { expect, test } from "bun:test";
import { join } from "node:path";
import type { Family } from "../../src/ip/family.ts";
import { becomes } from "./becomes.ts";
import { DUAL_STACK, NETWORK, type Node, Underlay } from "./nodes.ts";
import { leaseKey, type PeerStore, Store } from "./store.ts";

const IPV6_ONLY = { ...DUAL_STACK, EnableIPv4: false };

/** Answers to three packets each way. */
async function bothWays(a: Node, b: Node, family: Family): Promise<number[]> {
  return await Promise.all([a.ping(b.overlay(family)), b.ping(a.overlay(family))]);
}

const rows: [string, object, readonly Family[], readonly Family[]][] = [
  ["IPv4 alone, on hosts without IPv6", NETWORK, ["ipv4"], ["ipv4"]],
  ["IPv4 alone, on hosts with both", NETWORK, ["ipv4", "ipv6"], ["ipv4"]],
  ["IPv6 alone, on hosts without IPv4", IPV6_ONLY, ["ipv6"], ["ipv6"]],
  ["IPv6 alone, on hosts with both", IPV6_ONLY, ["ipv4", "ipv6"], ["ipv6"]],
  ["dual stack", DUAL_STACK, ["ipv4", "ipv6"], ["ipv4", "ipv6"]],
];
test.each(rows)("flanneld: nodes reach each other with %s", async (_title, config, families, reached) => {
  await using underlay = await Underlay.open({ config, families });
  const [a, b] = [underlay.node(1), underlay.node(2)];
  await Promise.all(underlay.nodes.map(async (node) => await node.flanneld().peers(1)));
  for (const family of reached) expect([family, ...(await bothWays(a, b, family))]).toEqual([family, 3, 3]);
  const devices = ["flannel.1", "flannel-v6.1"].filter((name) => a.link(name));
  expect(devices).toEqual(reached.map((family) => (family === "ipv4" ? "flannel.1" : "flannel-v6.1")));
});
test("flanneld: a peer with one of two families is a peer in that one, and the other way round", async () => {
  await using underlay = await Underlay.open({ config: DUAL_STACK });
  const [both, one] = [underlay.node(1), underlay.node(2)];
  using store = await Store.open(join(underlay.directory, "one.db"));
  await store.configure({ ...NETWORK, SubnetMin: "10.5.128.0" }); // never the subnet that the other store gives
  const [dualStack, ipv4] = [both.flanneld(), one.flanneld({ storeFile: store.path })];
  await Promise.all([dualStack.ready(), ipv4.ready()]);

  await copyLeases(store, underlay.store);
  await copyLeases(underlay.store, store, leaseKey(one.subnet()));
  await becomes(() => [both, one].map(routes), [1, 1]);
  expect(await bothWays(both, one, "ipv4")).toEqual([3, 3]);
  expect([dualStack.isAlive, ipv4.isAlive]).toEqual([true, true]);
});

const routes = (node: Node) => node.objects().filter((line) => line.startsWith("route")).length;

async function copyLeases(from: PeerStore, to: PeerStore, except = ""): Promise<void> {
  for (const { key, value } of await from.entries()) if (key !== except) await to.put(key, value);
}
