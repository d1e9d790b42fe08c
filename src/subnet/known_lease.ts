// A registry's entry as far as it can be understood: its subnets, and what its node says about itself.

import type { Address } from "../ip/address.ts";
import { FAMILIES, type PerFamily } from "../ip/family.ts";
import { overlaps, type Prefix } from "../ip/prefix.ts";
import { parseLeaseAttributes } from "../lease/attributes.ts";
import { parseLeaseKey } from "../lease/key.ts";
import type { LeaseAttributes } from "../lease/lease.ts";
import type { RegistryEntry } from "./registry.ts";

export interface KnownLease {
  readonly entry: RegistryEntry;
  readonly subnet: PerFamily<Prefix>;
  /** undefined when the value does not parse: the subnets are taken all the same, by nobody we know. */
  readonly attributes: LeaseAttributes | undefined;
}

/** Entries whose key is no lease key take no subnet and are left out. */
export function knownLeases(entries: readonly RegistryEntry[]): KnownLease[] {
  return entries.flatMap((entry) => {
    const subnet = parseLeaseKey(entry.key);
    if (!subnet) return [];
    const attributes = parseLeaseAttributes(entry.value);
    return { entry, subnet, attributes: "kind" in attributes ? undefined : attributes };
  });
}

/** Whether a lease is of the node with one of these public IPs. */
export function hasPublicIp(attributes: LeaseAttributes | undefined, publicIp: PerFamily<Address>): boolean {
  return FAMILIES.some((family) => publicIp[family] && attributes?.publicIp[family] === publicIp[family]);
}

export function subnetsOverlap(a: PerFamily<Prefix>, b: PerFamily<Prefix>): boolean {
  return FAMILIES.some((family) => {
    const [one, other] = [a[family], b[family]];
    return one && other && overlaps(one, other);
  });
}
