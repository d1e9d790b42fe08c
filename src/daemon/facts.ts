// The host's part of a plan: what the external interface and the kernel are like now.

import type { HostFacts, HostRoute } from "../backend/backend.ts";
import { familiesOf, type PerFamily } from "../ip/family.ts";
import { type Prefix, prefixAddress } from "../ip/prefix.ts";
import { ROUTE_PROTOCOL } from "../state/print.ts";
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
  const routes: HostRoute[] = familiesOf(address)
    .flatMap((family) => host.routesThrough(family, link.index))
    .filter((route) => route.protocol !== ROUTE_PROTOCOL)
    .map(({ dst, gateway }) => ({ dst, gateway }));
  return {
    external: { name: link.name, mtu: link.mtu ?? ETHERNET_MTU, address, routes },
    addresses: new Set(view.addresses.map((each) => prefixAddress(each.address))),
    nexthopObjects,
    networks,
  };
}

/** Whether a plan made with one is right with the other. */
export function sameFacts(a: HostFacts, b: HostFacts): boolean {
  return comparable(a) === comparable(b);
}

function comparable({ external, nexthopObjects }: HostFacts): string {
  return JSON.stringify([external, nexthopObjects]);
}
