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
  const halves = text.split("&").map((half) => parsePrefix(half.replace("-", "/")));
  const [first, second] = halves;
  if (!first || halves.length > 2 || halves.some((half) => !half || !isNetwork(half))) return undefined;
  if (halves.length === 1) return { [prefixFamily(first)]: first };
  if (!second || prefixFamily(first) !== "ipv4" || prefixFamily(second) !== "ipv6") return undefined;
  return { ipv4: first, ipv6: second };
}
