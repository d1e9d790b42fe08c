// The external interface as the kernel's part knows it: not ours, yet our nexthops and routes may lead through it, and its routes say which addresses are on
// link. Of a router's table, which BGP may change thousands of times a second, almost nothing bears on that: only routes
// without a gateway, and routes with one inside of those.

import { contains, type Prefix } from "../ip/prefix.ts";
import type { RouteMessage } from "../netlink/route.ts";
import { RT_TABLE_MAIN, RTN_UNICAST } from "../netlink/route.ts";
import { ROUTE_PROTOCOL } from "../state/print.ts";
import { isLinkLocal } from "./ownership.ts";

export interface External {
  readonly name: string;
  /** Destinations of its routes without a gateway. */
  readonly onLink: readonly Prefix[];
}

/** The gateways of a route by one interface; [undefined]: it needs none. */
export function gatewaysBy(route: RouteMessage, index: number): RouteMessage["gateway"][] {
  if (route.hops) return route.hops.filter((hop) => hop.oif === index).map((hop) => hop.gateway);
  return route.oif === index ? [route.gateway] : [];
}

/** Whether a route of the interface can change which addresses are on link there. */
export function bearsOnLink(route: RouteMessage, index: number, onLink: readonly Prefix[]): boolean {
  if (route.table !== RT_TABLE_MAIN || route.type !== RTN_UNICAST || route.protocol === ROUTE_PROTOCOL) return false;
  if (isLinkLocal(route.dst)) return false; // nobody's public IP, and the kernel makes it late
  const gateways = gatewaysBy(route, index);
  if (gateways.length === 0) return false;
  return gateways.includes(undefined) || onLink.some((prefix) => contains(prefix, route.dst));
}
