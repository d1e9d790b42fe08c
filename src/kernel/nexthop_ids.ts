// Which id each nexthop object has. Desired state knows a nexthop by device and gateway; the kernel knows it by id,
// and so do the routes through it.

import { type Address, familyOf } from "../ip/address.ts";
import type { PerFamily } from "../ip/family.ts";
import { mapFamilies } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import { nexthopRange } from "./ownership.ts";

export interface Hop {
  readonly dev: string;
  readonly gateway: Address;
}

export class NexthopIds {
  /** By device and gateway. */
  readonly #ids = new Map<string, Map<Address, number>>();
  readonly #hops = new Map<number, Hop>();
  /** Ids of our range that somebody else has. */
  readonly #foreign = new Set<number>();
  readonly #ranges: PerFamily<{ readonly first: number; readonly size: number; next: number }>;

  constructor(networks: PerFamily<Prefix>) {
    this.#ranges = mapFamilies(networks, (network) => ({ ...nexthopRange(network), next: 0 }));
  }

  /** The id of an existing nexthop. */
  get({ dev, gateway }: Hop): number | undefined {
    return this.#ids.get(dev)?.get(gateway);
  }

  hopOf(id: number): Hop | undefined {
    return this.#hops.get(id);
  }

  /** The id that a nexthop has, or a free one for it; undefined when the range is used up. */
  reserve(hop: Hop): number | undefined {
    const existing = this.get(hop);
    if (existing !== undefined) return existing;
    const range = this.#ranges[familyOf(hop.gateway)];
    if (!range) return undefined;
    for (let tries = 0; tries < range.size; tries++) {
      const id = range.first + range.next;
      range.next = (range.next + 1) % range.size;
      if (this.#hops.has(id) || this.#foreign.has(id)) continue;
      this.set(id, hop);
      return id;
    }
    return undefined;
  }

  set(id: number, hop: Hop): void {
    this.forget(id);
    this.#foreign.delete(id);
    this.#hops.set(id, hop);
    const ids = this.#ids.get(hop.dev);
    if (ids) ids.set(hop.gateway, id);
    else this.#ids.set(hop.dev, new Map([[hop.gateway, id]]));
  }

  /** The id is somebody else's: never to be used. */
  avoid(id: number): void {
    this.forget(id);
    this.#foreign.add(id);
  }

  forget(id: number): Hop | undefined {
    const hop = this.#hops.get(id);
    this.#foreign.delete(id);
    if (!hop) return undefined;
    this.#hops.delete(id);
    if (this.get(hop) === id) this.#ids.get(hop.dev)?.delete(hop.gateway);
    return hop;
  }

  forgetHop(hop: Hop): void {
    const id = this.get(hop);
    if (id !== undefined) this.forget(id);
  }

  forgetDevice(dev: string): void {
    for (const [id, hop] of this.#hops) if (hop.dev === dev) this.forget(id);
  }
}
