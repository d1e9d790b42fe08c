// What the peers of several backends have in common: whose lease it is, and how a route leads to it.

import type { Address } from "../ip/address.ts";
import { containsAddress, type Prefix, prefixLength } from "../ip/prefix.ts";
import { type Lease, type Refusal, refusal } from "../lease/lease.ts";
import type { KernelObject } from "../state/object.ts";
import type { HostFacts } from "./backend.ts";

/** The refusal of a peer that runs another backend. */
export function otherBackend(peer: Lease, type: string): Refusal | undefined {
  if (peer.backendType === type) return undefined;
  return refusal(`its BackendType is "${peer.backendType}", this node runs ${type}`);
}

/** A route to a peer's subnet, through a nexthop object where the kernel has them: plain routes of many gateways take quadratic time to add. */
export function routeVia(
  dst: Prefix,
  dev: string,
  gateway: Address,
  onlink: boolean,
  facts: HostFacts,
): KernelObject[] {
  if (!facts.nexthopObjects) return [{ kind: "route", dst, dev, gateway, onlink, form: "plain" }];
  return [
    { kind: "nexthop", dev, gateway, onlink },
    { kind: "route", dst, dev, gateway, onlink, form: "object" },
  ];
}

/** Whether the most specific route of the external interface to `address` has no gateway. */
export function isDirectlyConnected(address: Address, facts: HostFacts): boolean {
  const covering = facts.external.routes.filter((route) => containsAddress(route.dst, address));
  const longest = Math.max(...covering.map((route) => prefixLength(route.dst)));
  const best = covering.filter((route) => prefixLength(route.dst) === longest);
  return best.length > 0 && best.every((route) => route.gateway === undefined);
}
