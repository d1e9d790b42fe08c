// "No subnet is free" is what an operator must act upon, so the message says of what, how many there are, and who
// holds them.

import { mapFamilies } from "../ip/family.ts";
import type { Full } from "./allocation.ts";
import type { KnownLease } from "./known_lease.ts";
import { StoreError } from "./store_error.ts";

/** How many holders are named. */
const NAMED = 3;

export function fullError(full: Full, taken: readonly KnownLease[], endpoint: string): StoreError {
  const { network, first, last } = full.range;
  const holders = new Map<string, number>();
  for (const { attributes } of taken) {
    const { ipv4, ipv6 } = mapFamilies(attributes?.publicIp ?? {}, String);
    const holder = ipv4 ?? ipv6 ?? "a lease that does not parse";
    holders.set(holder, (holders.get(holder) ?? 0) + 1);
  }
  const most = [...holders].sort((a, b) => b[1] - a[1]);
  const named = most.slice(0, NAMED).map(([holder, count]) => `${holder} holds ${count}`);
  if (most.length > NAMED) named.push(`${most.length - NAMED} others hold the rest`);
  const reserved = taken.filter(({ entry }) => entry.reserved).length;
  if (reserved > 0) named.push(`${reserved} of all are reserved`);
  return new StoreError(
    "full",
    endpoint,
    `cannot lease a subnet of ${network}: all ${full.count} subnets ${first} to ${last} are taken ` +
      `(${named.join(", ")}); remove leases of nodes that are gone, or widen the range in the network configuration`,
  );
}
