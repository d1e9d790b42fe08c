// The peers of one network at one moment: whole, immutable, checked. A lease is input, not truth (another node, or anybody with access to the store,
// wrote it), so what could harm this node or another peer is refused here, with a reason, and the rest goes on.
//
// A set shares the leases that did not change with the set before it, and names the keys that did, so that one change among 5,000 peers costs one.

import { type Address, addressNumber } from "../ip/address.ts";
import { ADDRESS_BITS, FAMILIES, type Family, type PerFamily } from "../ip/family.ts";
import { contains, maskAddress, overlaps, type Prefix, prefixAddress, prefixLength } from "../ip/prefix.ts";
import { parseLeaseAttributes, sameAttributes } from "./attributes.ts";
import { type LeaseKey, parseLeaseKey } from "./key.ts";
import type { Lease } from "./lease.ts";

/** A lease as a store holds it. */
export interface StoredLease {
  readonly key: string;
  readonly value: string;
  /** As in Lease. */
  readonly expiresAt: number | undefined;
}

export interface LeaseSet {
  readonly leases: ReadonlyMap<LeaseKey, Lease>;
  /** Refused leases: key → reason. */
  readonly refused: ReadonlyMap<string, string>;
  /** Keys whose lease differs from the set before (`previous`), gone ones included. */
  readonly changed: readonly LeaseKey[];
  /** Number of this set and of the one that `changed` counts from; 0 is the empty set that nobody yields. */
  readonly number: number;
  readonly previous: number;
}

export interface LeaseSetContext {
  readonly networks: PerFamily<Prefix>;
  readonly own: Lease;
  /** Addresses of this host: a peer cannot live there. */
  readonly hostAddresses: ReadonlySet<Address>;
}

/** Takes what a store says and yields lease sets. Owns the checks between leases; the first of two that cannot both be keeps its place. */
export class LeaseSetBuilder {
  readonly #context: LeaseSetContext;
  readonly #stored = new Map<string, StoredLease>();
  readonly #taken = new SubnetIndex();
  readonly #changed = new Set<LeaseKey>();
  #leases = new Map<LeaseKey, Lease>();
  #refused = new Map<string, string>();
  #number = 0;

  constructor(context: LeaseSetContext) {
    this.#context = context;
  }

  /** Replaces everything: what is not in `all` is gone. `all` in order of creation, so that every node keeps the same one of two rivals. */
  reset(all: Iterable<StoredLease>): void {
    const remaining = new Map<string, StoredLease>();
    for (const stored of all) remaining.set(stored.key, stored);
    for (const key of [...this.#stored.keys()]) if (!remaining.has(key)) this.remove(key);
    for (const stored of remaining.values()) this.put(stored);
  }

  put(stored: StoredLease): void {
    const before = this.#stored.get(stored.key);
    if (before?.value === stored.value && before.expiresAt === stored.expiresAt) return;
    this.#stored.set(stored.key, stored);
    this.#admit(stored);
  }

  remove(key: string): void {
    if (!this.#stored.delete(key)) return;
    this.#refused.delete(key);
    if (!this.#drop(key as LeaseKey)) return;
    // A lease refused because it overlaps this one may have its place now.
    for (const rival of [...this.#refused.keys()]) {
      const stored = this.#stored.get(rival);
      if (stored) this.#admit(stored);
    }
  }

  /** The set as it stands; undefined when nothing changed since the last call. */
  take(): LeaseSet | undefined {
    if (this.#changed.size === 0 && this.#number > 0) return undefined;
    const changed = [...this.#changed];
    this.#changed.clear();
    const previous = this.#number++;
    return {
      leases: new Map(this.#leases),
      refused: new Map(this.#refused),
      changed,
      number: this.#number,
      previous,
    };
  }

  #admit(stored: StoredLease): void {
    const lease = this.#check(stored);
    const key = stored.key as LeaseKey;
    if (typeof lease === "string") {
      this.#drop(key);
      if (this.#refused.get(key) !== lease) {
        this.#refused.set(key, lease);
        this.#changed.add(key);
      }
      return;
    }
    this.#refused.delete(key);
    if (lease === undefined) return;
    const before = this.#leases.get(key);
    if (!before) for (const family of FAMILIES) this.#taken.add(lease.subnet[family], key);
    if (before && sameAttributes(before, lease)) {
      // Only the expiry moved: nothing to do for a backend, so the same object stays.
      return;
    }
    this.#leases.set(key, lease);
    this.#changed.add(key);
  }

  #drop(key: LeaseKey): boolean {
    const lease = this.#leases.get(key);
    if (!lease) return false;
    for (const family of FAMILIES) this.#taken.remove(lease.subnet[family]);
    this.#leases.delete(key);
    this.#changed.add(key);
    return true;
  }

  /** The lease, the reason to refuse it, or undefined for our own. */
  #check(stored: StoredLease): Lease | string | undefined {
    const { networks, own, hostAddresses } = this.#context;
    if (stored.key === own.key) return undefined;
    const subnet = parseLeaseKey(stored.key);
    if (!subnet) return "its key is not a subnet in the form 10.5.2.0-24";
    const parsed = parseLeaseAttributes(stored.value);
    if ("kind" in parsed) return parsed.reason;
    for (const family of FAMILIES) {
      const part = subnet[family];
      if (!part) continue;
      const network = networks[family];
      if (!network) continue; // a family this node does not run: the peer is one in the other
      if (!contains(network, part)) return `its subnet ${part} is outside the network ${network}`;
      const ours = own.subnet[family];
      if (ours && overlaps(ours, part)) return `its subnet ${part} overlaps this node's own ${ours}`;
      const rival = this.#taken.overlapping(part, stored.key);
      if (rival) return `its subnet ${part} overlaps the lease ${rival}`;
      const publicIp = parsed.publicIp[family];
      if (publicIp && hostAddresses.has(publicIp)) return `its public IP ${publicIp} is an address of this host`;
    }
    if (!FAMILIES.some((family) => subnet[family] && networks[family])) {
      return "it has no subnet in an address family of this network";
    }
    return { ...parsed, key: stored.key as LeaseKey, subnet, expiresAt: stored.expiresAt };
  }
}

/** Finds overlaps without comparing all pairs: prefixes by length, then by base address. */
class SubnetIndex {
  readonly #byLength = new Map<string, Map<string, LeaseKey>>();

  add(subnet: Prefix | undefined, key: LeaseKey): void {
    if (!subnet) return;
    const group = groupOf(subnet);
    const bases = this.#byLength.get(group) ?? new Map<string, LeaseKey>();
    this.#byLength.set(group, bases.set(prefixAddress(subnet), key));
  }

  remove(subnet: Prefix | undefined): void {
    if (subnet) this.#byLength.get(groupOf(subnet))?.delete(prefixAddress(subnet));
  }

  /** The key of a lease that overlaps `subnet` and is not `except`. */
  overlapping(subnet: Prefix, except: string): LeaseKey | undefined {
    const length = prefixLength(subnet);
    const base = prefixAddress(subnet);
    for (const [group, bases] of this.#byLength) {
      const [family, lengthText] = group.split("/") as [Family, string];
      if (family !== groupOf(subnet).split("/")[0] || bases.size === 0) continue;
      const other = Number(lengthText);
      if (other <= length) {
        const key = bases.get(other === length ? base : maskAddress(base, other));
        if (key && key !== except) return key;
      } else {
        for (const [candidate, key] of bases) {
          if (key !== except && sameBits(candidate as Address, base, length)) return key;
        }
      }
    }
    return undefined;
  }
}

function groupOf(subnet: Prefix): string {
  return `${subnet.includes(":") ? "ipv6" : "ipv4"}/${prefixLength(subnet)}`;
}

function sameBits(a: Address, b: Address, length: number): boolean {
  const hostBits = BigInt(ADDRESS_BITS[a.includes(":") ? "ipv6" : "ipv4"] - length);
  return addressNumber(a) >> hostBits === addressNumber(b) >> hostBits;
}
