// A network of flannelds on Kubernetes with peers that exist in the API alone; and an outage that it has to survive, of whatever length.

import { expect } from "bun:test";
import type { KubeCluster } from "../kubernetes/cluster.ts";
import { flannelAnnotations, madeNode } from "../kubernetes/made_nodes.ts";
import { becomes } from "./becomes.ts";
import type { Flanneld } from "./flanneld.ts";
import { CHANGES, COMES, LEAVES, NOTICE_MS, route, routesOf, STAYS, unreachable } from "./made_peers.ts";
import { type KubernetesUnderlay, type Node, Underlay } from "./nodes.ts";
import { until } from "./program.ts";

export interface World {
  readonly underlay: Underlay;
  readonly kube: KubeCluster;
  readonly node: Node;
  readonly flanneld: Flanneld;
  readonly daemons: readonly Flanneld[];
}

export async function open(nodes: number, kubernetes: KubernetesUnderlay = {}): Promise<World> {
  const underlay = await Underlay.open({ nodes, families: ["ipv4"], kubernetes });
  const kube = underlay.kube.cluster;
  for (const n of [STAYS, CHANGES, LEAVES]) await kube.create(madeNode(n));
  const daemons = underlay.nodes.map((node) => node.flanneld());
  await Promise.all(daemons.map((daemon) => daemon.peers(nodes - 1 + 3)));
  return { underlay, kube, node: underlay.node(1), flanneld: daemons[0] as Flanneld, daemons };
}

/** Peers come, change and leave. */
export async function change(kube: KubeCluster): Promise<void> {
  const data = JSON.stringify({ VNI: 1, VtepMAC: "02:00:00:00:99:99" });
  const changed = { ...flannelAnnotations(CHANGES) };
  const prefix = "flannel.alpha.coreos.com/";
  await kube.annotate(`made-${CHANGES}`, {
    ...changed,
    [`${prefix}backend-data`]: data,
    [`${prefix}public-ip`]: "192.168.77.99",
  });
  await kube.remove(`made-${LEAVES}`);
  await kube.create(madeNode(COMES));
}

/** The node has all that `change` did, and nothing else. */
export async function caughtUp({ node, kube, flanneld }: World, others: readonly string[] = []): Promise<void> {
  const wanted = [...others, route(STAYS), route(CHANGES), route(COMES)].sort();
  await becomes(() => routesOf(node).sort(), wanted, NOTICE_MS);
  const fdb = (mac: string) => node.objects().find((line) => line.startsWith("fdb ") && line.includes(mac));
  await until("the new MAC and public IP", () => fdb("02:00:00:00:99:99")?.includes("192.168.77.99"));
  expect(fdb(`02:00:00:00:00:${CHANGES.toString(16)}`)).toBeUndefined();
  await kube.remove(`made-${COMES}`); // and it goes on
  await becomes(() => routesOf(node).includes(route(COMES)), false);
  expect(flanneld.lines(/Lease lost/)).toEqual([]);
}

export type Outage = "cut" | "gone";

/** Milliseconds. */
export interface Survived {
  /** From the beginning until status.json said that the store was unreachable. */
  readonly noticed: number;
  /** From the end until the kernel had what was made during the outage. */
  readonly healed: number;
}

/**
 * Takes the API server from a node for `lastsMs` more than it takes to be noticed: it is gone, or cut off so that packets are dropped. Meanwhile peers come,
 * change and leave, and the server forgets the history. Nothing may change on the node before, and all of it afterwards.
 */
export async function surviveOutage(outage: Outage, lastsMs: number): Promise<Survived> {
  const world = await open(1);
  await using underlay = world.underlay;
  const { kube, node, flanneld } = world;
  const before = node.objects();
  const begun = performance.now();
  if (outage === "cut") underlay.cut("p1");
  else await kube.fate("stop", { server: 0, crash: true });
  await unreachable(flanneld);
  const noticed = performance.now() - begun;
  await Bun.sleep(lastsMs / 2);
  await change(kube);
  await kube.fate("compact", {});
  await Bun.sleep(lastsMs / 2);
  expect(node.objects()).toEqual(before);
  if (outage === "cut") underlay.heal("p1");
  else await kube.fate("start", { server: 0 });
  const end = performance.now();
  await until("the new route", () => routesOf(node).includes(route(COMES)), flanneld, NOTICE_MS);
  const healed = performance.now() - end;
  await caughtUp(world);
  await until("told as reachable", () => flanneld.status?.store?.reachable === true, flanneld);
  return { noticed, healed };
}
