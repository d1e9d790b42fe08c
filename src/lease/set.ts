// The peers of one network at one moment: whole, immutable, checked. A lease is input, not truth (another node, or anybody with access to the store,
// wrote it), so what could harm this node or another peer is refused here, with a reason, and the rest goes on.
//
// A set shares the leases that did not change with the set before it, and names the keys that did, so that a backend looks at one lease
// when one among 5,000 changes. The set itself is copied, half a millisecond at that size.

import { type Address, isUnicastAddress } from "../ip/address.ts";
import { FAMILIES, mapFamilies, type PerFamily } from "../ip/family.ts";
import { contains, type Prefix } from "../ip/prefix.ts";
import { parseLeaseAttributes, sameAttributes } from "./attributes.ts";
import { type LeaseKey, parseLeaseKey } from "./key.ts";
import type { Lease } from "./lease.ts";
import { SubnetIndex } from "./subnet_index.ts";

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

/** A reason to refuse; `rival` is the lease that stands in the way, and whose end gives way. */
interface Refused {
  readonly kind: "refused";
  readonly reason: string;
  readonly rival?: LeaseKey | undefined;
}

/** Takes what a store says and yields lease sets. Owns the checks between leases; the first of two that cannot both be keeps its place. */
export class LeaseSetBuilder {
  readonly #context: LeaseSetContext;
  /** The subnets of admitted leases, and our own. */
  readonly #taken: PerFamily<SubnetIndex>;
  readonly #stored = new Map<string, StoredLease>();
  readonly #leases = new Map<LeaseKey, Lease>();
  readonly #refused = new Map<string, Refused>();
  /** Rival → the leases refused because of it, first come first. */
  readonly #waiting = new Map<LeaseKey, Set<string>>();
  readonly #changed = new Set<LeaseKey>();
  #number = 0;

  constructor(context: LeaseSetContext) {
    const { networks, own } = context;
    this.#context = context;
    this.#taken = mapFamilies(networks, (network, family) => {
      const index = new SubnetIndex(network);
      const ours = own.subnet[family];
      if (ours && contains(network, ours)) index.add(ours, own.key);
      return index;
    });
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
    this.#stored.set(stored.key, stored);
    // When only the expiry moved there is nothing to do for a backend, so the same Lease stays.
    if (before?.value !== stored.value) this.#admit(stored);
  }

  remove(key: string): void {
    if (!this.#stored.delete(key)) return;
    if (this.#forgetRefusal(key)) this.#changed.add(key as LeaseKey);
    this.#drop(key as LeaseKey);
  }

  /** The set as it stands; undefined when nothing changed since the last call. */
  take(): LeaseSet | undefined {
    if (this.#changed.size === 0 && this.#number > 0) return undefined;
    const changed = [...this.#changed];
    this.#changed.clear();
    const previous = this.#number++;
    return {
      leases: new Map(this.#leases),
      refused: new Map([...this.#refused].map(([key, { reason }]) => [key, reason])),
      changed,
      number: this.#number,
      previous,
    };
  }

  #admit(stored: StoredLease): void {
    if (stored.key === this.#context.own.key) return;
    const key = stored.key as LeaseKey;
    const checked = this.#check(stored);
    const refusedBefore = this.#forgetRefusal(key);
    if (checked.kind === "refused") {
      this.#refuse(key, checked);
      if (refusedBefore?.reason !== checked.reason) this.#changed.add(key);
      this.#drop(key);
      return;
    }
    const { lease } = checked;
    const before = this.#leases.get(key);
    if (before && sameAttributes(before, lease)) return;
    if (!before)
      for (const family of FAMILIES) if (lease.subnet[family]) this.#taken[family]?.add(lease.subnet[family], key);
    this.#leases.set(key, lease);
    this.#changed.add(key);
  }

  #refuse(key: string, refused: Refused): void {
    this.#refused.set(key, refused);
    if (!refused.rival) return;
    const waiting = this.#waiting.get(refused.rival) ?? new Set();
    this.#waiting.set(refused.rival, waiting.add(key));
  }

  #forgetRefusal(key: string): Refused | undefined {
    const refused = this.#refused.get(key);
    if (refused?.rival) this.#waiting.get(refused.rival)?.delete(key);
    this.#refused.delete(key);
    return refused;
  }

  /** Takes a lease out; one that was refused because of it may have its place now. */
  #drop(key: LeaseKey): void {
    const lease = this.#leases.get(key);
    if (!lease) return;
    for (const family of FAMILIES) if (lease.subnet[family]) this.#taken[family]?.remove(lease.subnet[family]);
    this.#leases.delete(key);
    this.#changed.add(key);
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    for (const rival of waiting) {
      const stored = this.#stored.get(rival);
      if (stored) this.#admit(stored);
    }
  }

  #check(stored: StoredLease): { readonly kind: "admitted"; readonly lease: Lease } | Refused {
    const { networks, own, hostAddresses } = this.#context;
    const refuse = (reason: string, rival?: LeaseKey): Refused => ({ kind: "refused", reason, rival });
    const key = stored.key as LeaseKey;
    const subnet = parseLeaseKey(key);
    if (!subnet) return refuse("its key is not a subnet in the form 10.5.2.0-24");
    const parsed = parseLeaseAttributes(stored.value);
    if ("kind" in parsed) return refuse(parsed.reason);
    let known = false;
    for (const family of FAMILIES) {
      const [network, part, publicIp] = [networks[family], subnet[family], parsed.publicIp[family]];
      if (!network || !part) continue; // a family that this node does not run: the peer is one in the other
      known = true;
      if (!contains(network, part)) return refuse(`its subnet ${part} is outside the network ${network}`);
      // Of an admitted lease only the attributes can have changed: its key spells its subnets.
      const rival = this.#leases.has(key) ? undefined : this.#taken[family]?.overlapping(part);
      if (rival === own.key) return refuse(`its subnet ${part} overlaps this node's own ${own.subnet[family]}`);
      if (rival) return refuse(`its subnet ${part} overlaps the lease ${rival}`, rival);
      if (!publicIp) continue;
      if (!isUnicastAddress(publicIp)) return refuse(`its public IP ${publicIp} is not the address of a host`);
      if (hostAddresses.has(publicIp)) return refuse(`its public IP ${publicIp} is an address of this host`);
      if (own.publicIp[family] === publicIp) return refuse(`its public IP ${publicIp} is this node's own`);
    }
    if (!known) return refuse("it has no subnet in an address family of this network");
    return { kind: "admitted", lease: { ...parsed, key, subnet, expiresAt: stored.expiresAt } };
  }
}
