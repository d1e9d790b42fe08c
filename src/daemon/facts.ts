// The host's part of a plan: what the external interface and the kernel are like now.

import type { HostFacts, HostRoute } from "../backend/backend.ts";
import { familiesOf, type PerFamily } from "../ip/family.ts";
import { type Prefix, prefixAddress } from "../ip/prefix.ts";
import { bearsOnLink, gatewaysBy } from "../kernel/external.ts";
import type { RouteMessage } from "../netlink/route.ts";
import type { Host, HostView } from "./host.ts";
import type { ExternalInterface } from "./interface.ts";

const ETHERNET_MTU = 1500;

export function readFacts(
  host: Host,
  view: HostView,
  external: ExternalInterface,
  nexthopObjects: boolean,
  networks: PerFamily<Prefix>,
): HostFacts {
  const { link, address } = external;
  const routes = familiesOf(address).flatMap((family) => host.routesThrough(family, link.index));
  return {
    external: { name: link.name, mtu: link.mtu ?? ETHERNET_MTU, address, routes: decisive(routes, link.index) },
    addresses: new Set(view.addresses.map((each) => prefixAddress(each.address))),
    nexthopObjects,
    networks,
  };
}

/** The routes that say what is on link, in an order of their own: all that bears on a plan of what may be the whole Internet's. */
function decisive(routes: readonly RouteMessage[], index: number): HostRoute[] {
  const onLink = routes.filter((route) => gatewaysBy(route, index).includes(undefined)).map(({ dst }) => dst);
  const kept = routes
    .filter((route) => bearsOnLink(route, index, onLink))
    .flatMap((route) => gatewaysBy(route, index).map((gateway) => ({ dst: route.dst, gateway })));
  const text = ({ dst, gateway }: HostRoute) => `${dst} ${gateway ?? ""}`;
  return [...new Map(kept.map((route) => [text(route), route])).values()].sort((a, b) => (text(a) < text(b) ? -1 : 1));
}

/** Whether a plan made with one is right with the other. */
export function sameFacts(a: HostFacts, b: HostFacts): boolean {
  return comparable(a) === comparable(b);
}

function comparable({ external, nexthopObjects }: HostFacts): string {
  return JSON.stringify([external, nexthopObjects]);
}
