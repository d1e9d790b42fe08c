// A network of flannelds on an etcd cluster of three, with peers that exist in the store only; and an outage that it has to survive, of whatever length.

import { expect } from "bun:test";
import { becomes } from "./becomes.ts";
import { EtcdStore } from "./etcd_store.ts";
import type { Flanneld } from "./flanneld.ts";
import { CHANGES, COMES, LEAVES, NOTICE_MS, route, routesOf, STAYS, unreachable } from "./made_peers.ts";
import { type Node, Underlay } from "./nodes.ts";
import { until } from "./program.ts";
import { leaseKey } from "./store.ts";

export async function open(api: "2" | "3", nodes: number, flags: readonly string[] = []) {
  const underlay = await Underlay.open({ nodes, families: ["ipv4"], etcd: { members: 3, enableV2: true, api } });
  const store = new EtcdStore(underlay.cluster, api);
  for (const n of [STAYS, CHANGES, LEAVES]) store.put(n);
  const daemons = underlay.nodes.map((node) => node.flanneld({ flags }));
  const peers = nodes - 1 + 3;
  await Promise.all(daemons.map((daemon) => daemon.peers(peers)));
  const [node, flanneld] = [underlay.node(1), daemons[0] as Flanneld];
  return { underlay, store, node, flanneld, daemons };
}

/** The peer's FDB entry on a node: where its packets are sent. */
function fdbOf(node: Node, mac: string): string | undefined {
  return node.objects().find((line) => line.startsWith("fdb ") && line.includes(mac));
}

/** Milliseconds. */
export interface Survived {
  /** From the cut until status.json said that the store was unreachable. */
  readonly noticed: number;
  /** From the healing until the kernel had what was put during the outage. */
  readonly healed: number;
}

/**
 * Cuts a node off, so that packets are dropped and not refused, for `lastsMs` more than it takes to be noticed. Meanwhile peers come, change and leave, and the
 * store forgets what happened. Nothing may change on the node before, and all of it afterwards.
 */
export async function surviveOutage(api: "2" | "3", lastsMs: number): Promise<Survived> {
  const { underlay, store, node, flanneld } = await open(api, 1);
  await using _ = underlay;
  const before = node.objects();
  const cut = performance.now();
  underlay.cut("p1");
  await unreachable(flanneld);
  const noticed = performance.now() - cut;
  await Bun.sleep(lastsMs / 2);
  const mac = "02:00:00:00:99:99";
  store.put(CHANGES, { PublicIP: "192.168.77.99", BackendData: { VNI: 1, VtepMAC: mac } });
  store.remove(leaseKey(route(LEAVES)));
  store.put(COMES);
  store.forget();
  await Bun.sleep(lastsMs / 2);
  expect(node.objects()).toEqual(before);
  underlay.heal("p1");
  const begun = performance.now();
  await until("the new route", () => routesOf(node).includes(route(COMES)), flanneld, NOTICE_MS);
  const healed = performance.now() - begun;
  await becomes(() => routesOf(node), [route(STAYS), route(CHANGES), route(COMES)]);
  await until("the new MAC and public IP", () => fdbOf(node, mac)?.includes("192.168.77.99"));
  expect(fdbOf(node, `02:00:00:00:00:${CHANGES.toString(16)}`)).toBeUndefined();
  store.remove(leaseKey(route(COMES)));
  await becomes(() => routesOf(node), [route(STAYS), route(CHANGES)]);
  expect(flanneld.lines(/Lease lost/)).toEqual([]);
  return { noticed, healed };
}
