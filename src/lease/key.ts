// A lease's key in a store spells its subnets, as upstream's MakeSubnetKey does: "10.5.2.0-24", "10.5.2.0-24&fd00:0:0:2::-64".
// upstream: a lease of IPv6 alone has the IPv6 half alone ("fd00:0:0:2::-64"); upstream has no form for it.

import type { PerFamily } from "../ip/family.ts";
import { isNetwork, type Prefix, parsePrefix, prefixFamily } from "../ip/prefix.ts";

export type LeaseKey = string & { readonly __brand: "LeaseKey" };

export function formatLeaseKey(subnet: PerFamily<Prefix>): LeaseKey {
  const halves = [subnet.ipv4, subnet.ipv6].filter((half) => half !== undefined);
  if (halves.length === 0) throw new RangeError("Cannot make a lease key of no subnet");
  return halves.map((half) => half.replace("/", "-")).join("&") as LeaseKey;
}

/** The subnets that a key spells, or undefined when it is not a lease key (wrong form, host bits set, families twice or swapped). */
export function parseLeaseKey(text: string): PerFamily<Prefix> | undefined {
  const ampersand = text.indexOf("&");
  const first = parseHalf(ampersand < 0 ? text : text.slice(0, ampersand));
  if (!first || ampersand < 0) return first && { [prefixFamily(first)]: first };
  const second = parseHalf(text.slice(ampersand + 1));
  if (!second || prefixFamily(first) !== "ipv4" || prefixFamily(second) !== "ipv6") return undefined;
  return { ipv4: first, ipv6: second };
}

/** "10.5.2.0-24", whose slash is a hyphen since a slash parts the names of a store. */
function parseHalf(text: string): Prefix | undefined {
  if (text.includes("/")) return undefined;
  const prefix = parsePrefix(text.replace("-", "/"));
  return prefix && isNetwork(prefix) ? prefix : undefined;
}
