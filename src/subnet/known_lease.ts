// A registry's entry as far as it can be understood: its subnets, and what its node says about itself.

import { type Address, parseAddress } from "../ip/address.ts";
import { FAMILIES, type PerFamily } from "../ip/family.ts";
import { overlaps, type Prefix } from "../ip/prefix.ts";
import { parseLeaseAttributes } from "../lease/attributes.ts";
import { parseLeaseKey } from "../lease/key.ts";
import type { LeaseAttributes } from "../lease/lease.ts";
import type { RegistryEntry } from "./registry.ts";

export interface KnownLease {
  readonly entry: RegistryEntry;
  readonly subnet: PerFamily<Prefix>;
  /** undefined when the value does not parse: the subnets are taken all the same, by nobody we know. Read when it is asked for. */
  readonly attributes: LeaseAttributes | undefined;
}

/** Entries whose key is no lease key take no subnet and are left out. */
export function knownLeases(entries: readonly RegistryEntry[]): KnownLease[] {
  const leases: KnownLease[] = [];
  for (const entry of entries) {
    const subnet = parseLeaseKey(entry.key);
    if (subnet) leases.push(new LazyLease(entry, subnet));
  }
  return leases;
}

class LazyLease implements KnownLease {
  readonly entry: RegistryEntry;
  readonly subnet: PerFamily<Prefix>;

  constructor(entry: RegistryEntry, subnet: PerFamily<Prefix>) {
    this.entry = entry;
    this.subnet = subnet;
  }

  get attributes(): LeaseAttributes | undefined {
    const attributes = parseLeaseAttributes(this.entry.value);
    return "kind" in attributes ? undefined : attributes;
  }
}

/** Whether a lease is of the node with one of these public IPs; of thousands, only those that may be are parsed. */
export function isOfNode(lease: KnownLease, publicIp: PerFamily<Address>): boolean {
  return mentions(lease.entry.value, publicIp) && hasPublicIp(lease.attributes, publicIp);
}

/** IPv4 has one spelling; IPv6 has many, and an operator may have written a reservation by hand. */
function mentions(value: string, { ipv4, ipv6 }: PerFamily<Address>): boolean {
  if (ipv4 && value.includes(`"${ipv4}"`)) return true;
  const spelled = ipv6 && /"PublicIPv6"\s*:\s*"([^"]*)"/i.exec(value)?.[1];
  return spelled !== undefined && parseAddress(spelled) === ipv6;
}

/** Whether a node says that it has one of these public IPs. */
export function hasPublicIp(attributes: LeaseAttributes | undefined, publicIp: PerFamily<Address>): boolean {
  return FAMILIES.some((family) => publicIp[family] && attributes?.publicIp[family] === publicIp[family]);
}

export function subnetsOverlap(a: PerFamily<Prefix>, b: PerFamily<Prefix>): boolean {
  return FAMILIES.some((family) => {
    const [one, other] = [a[family], b[family]];
    return one && other && overlaps(one, other);
  });
}
