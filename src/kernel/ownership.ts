// What is ours (Invariant 5), decided by what an object looks like and nothing else, so that a daemon without memory sweeps after itself and touches nobody.
//
//   link               by name (flannel.<VNI>) and kind
//   address            on our link, not link-local (the kernel makes those)
//   neighbour, FDB     on our link, permanent, with a unicast MAC
//   nexthop            protocol 70, and on our link or with an id of our range
//   route              protocol 70, and on our link or inside our network;
//                      upstream's (protocol boot, its library's default) on our link and inside our network: taken over with the device;
//                      on the external interface by a narrower rule, once (daemon/takeover.ts)
//
// Ids of nexthop objects come from a range derived from the network: unlike a link's index it survives the link, and two flannelds on one host have
// different networks.

import type { Address } from "../ip/address.ts";
import type { PerFamily } from "../ip/family.ts";
import { contains, type Prefix, prefixFamily } from "../ip/prefix.ts";
import { RTPROT_BOOT } from "../netlink/route.ts";
import { ROUTE_PROTOCOL } from "../state/print.ts";

export interface Ownership {
  /** Names of links that are ours whether or not they exist. */
  readonly links: ReadonlySet<string>;
  readonly networks: PerFamily<Prefix>;
}

const RANGE_BITS = 18;
const FIRST_RANGE = 0x4000_0000; // far above the ids that other programs count up from 1

/** The first id of the range of a network; it has 262,144. */
export function nexthopRange(network: Prefix): { readonly first: number; readonly size: number } {
  let hash = 0x811c9dc5; // FNV-1a
  for (const character of network) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193) >>> 0;
  const range = (hash ^ (hash >>> 12)) & 0xfff;
  return { first: FIRST_RANGE + range * 2 ** RANGE_BITS, size: 2 ** RANGE_BITS };
}

export function isOurNexthop(ownership: Ownership, id: number, protocol: number, dev: string | undefined): boolean {
  if (protocol !== ROUTE_PROTOCOL) return false;
  if (dev !== undefined && ownership.links.has(dev)) return true;
  return [ownership.networks.ipv4, ownership.networks.ipv6].some((network) => {
    if (!network) return false;
    const { first, size } = nexthopRange(network);
    return id >= first && id < first + size;
  });
}

export function isOurRoute(ownership: Ownership, dst: Prefix, protocol: number, dev: string): boolean {
  const onOurLink = ownership.links.has(dev);
  if (protocol === ROUTE_PROTOCOL) return onOurLink || insideNetwork(ownership, dst);
  return protocol === RTPROT_BOOT && onOurLink && insideNetwork(ownership, dst);
}

export function insideNetwork(ownership: Ownership, dst: Prefix): boolean {
  const network = ownership.networks[prefixFamily(dst)];
  return network !== undefined && contains(network, dst);
}

/** Made by the kernel for itself on every IPv6 link. */
export function isLinkLocal(address: Address | Prefix): boolean {
  return address.startsWith("fe80:");
}
