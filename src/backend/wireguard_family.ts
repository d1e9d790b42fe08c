// By which family packets go to a peer that has addresses of both, in mode auto: as upstream guesses, since both ends of a tunnel should guess alike.

import type { Address } from "../ip/address.ts";
import type { Family, PerFamily } from "../ip/family.ts";
import { containsAddress, type Prefix } from "../ip/prefix.ts";

/** RFC 1918 and RFC 4193: addresses that are not reached from everywhere. */
const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"] as Prefix[];

/**
 * IPv4 when the peer has a public one: who has IPv4 at all reaches it, by NAT if need be. IPv6 when both ends have a public one, since hardly anybody has a NAT
 * there. IPv4 when neither holds.
 */
export function preferredFamily(own: PerFamily<Address>, peer: PerFamily<Address>): Family {
  if (!peer.ipv6) return "ipv4";
  if (!peer.ipv4) return "ipv6";
  if (!isPrivate(peer.ipv4) && own.ipv4) return "ipv4";
  return !isPrivate(peer.ipv6) && own.ipv6 && !isPrivate(own.ipv6) ? "ipv6" : "ipv4";
}

function isPrivate(address: Address): boolean {
  return PRIVATE.some(
    (network) => network.includes(":") === address.includes(":") && containsAddress(network, address),
  );
}
