// What tests of an outage of whatever store share: peers that exist in the store only, and how a node shows that it noticed.

import type { Flanneld } from "./flanneld.ts";
import type { Node } from "./nodes.ts";
import { until } from "./program.ts";

/** Long enough for a connection that drops packets to be noticed, by the client's own timers, on a loaded machine. */
export const NOTICE_MS = 30_000;
/** Peers that exist in the store only, with subnets that no node takes by itself. */
export const [STAYS, CHANGES, LEAVES, COMES] = [151, 152, 153, 154];

export const routesOf = (node: Node) =>
  node
    .objects()
    .filter((line) => line.startsWith("route "))
    .map((line) => line.split(" ")[1] ?? "");
export const route = (n: number) => `10.5.${n}.0/24`;
export const unreachable = (flanneld: Flanneld) =>
  until("the outage noticed", () => flanneld.status?.store?.reachable === false, flanneld, NOTICE_MS);
