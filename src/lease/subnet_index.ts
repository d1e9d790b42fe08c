// Which lease has a part of a subnet, without comparing all pairs: a binary tree over the bits that follow the network's own. The cost of a question is the
// number of those bits, whatever lengths the leases have, so that no mix of them (a hostile one, or SubnetLen changed long ago) makes it slow.

import { type Prefix, prefixAddress, prefixLength } from "../ip/prefix.ts";
import { writeAddress } from "../ip/wire.ts";
import type { LeaseKey } from "./key.ts";

interface Node {
  /** The lease whose subnet ends here; there are no nodes below it. */
  key: LeaseKey | undefined;
  zero: Node | undefined;
  one: Node | undefined;
}

/** Subnets of one network that do not overlap each other. */
export class SubnetIndex {
  readonly #networkLength: number;
  readonly #root = emptyNode();
  /** Of the subnet that a method is about. */
  readonly #bytes = new Uint8Array(16);

  constructor(network: Prefix) {
    this.#networkLength = prefixLength(network);
  }

  /** `subnet` lies in the network and overlaps none that is here. */
  add(subnet: Prefix, key: LeaseKey): void {
    const bytes = this.#bytesOf(subnet);
    const length = prefixLength(subnet);
    let node = this.#root;
    for (let bit = this.#networkLength; bit < length; bit++) {
      const side = sideAt(bytes, bit);
      const next = node[side] ?? emptyNode();
      node[side] = next;
      node = next;
    }
    node.key = key;
  }

  remove(subnet: Prefix): void {
    const bytes = this.#bytesOf(subnet);
    const length = prefixLength(subnet);
    const path = [this.#root];
    for (let bit = this.#networkLength; bit < length; bit++) {
      const next = path.at(-1)?.[sideAt(bytes, bit)];
      if (!next) return;
      path.push(next);
    }
    const last = path.pop();
    if (last) last.key = undefined;
    // A node without a lease at or below it goes too, or `overlapping` would look for one there.
    let empty = last;
    for (let bit = length - 1; empty && !empty.zero && !empty.one; bit--) {
      const parent = path.pop();
      if (parent) parent[sideAt(bytes, bit)] = undefined;
      empty = parent;
    }
  }

  /** A lease whose subnet contains `subnet` or lies in it. */
  overlapping(subnet: Prefix): LeaseKey | undefined {
    const bytes = this.#bytesOf(subnet);
    const length = prefixLength(subnet);
    let node: Node | undefined = this.#root;
    for (let bit = this.#networkLength; node && !node.key && bit < length; bit++) node = node[sideAt(bytes, bit)];
    while (node && !node.key) node = node.zero ?? node.one;
    return node?.key;
  }

  #bytesOf(subnet: Prefix): Uint8Array {
    writeAddress(this.#bytes, 0, prefixAddress(subnet));
    return this.#bytes;
  }
}

function emptyNode(): Node {
  return { key: undefined, zero: undefined, one: undefined };
}

function sideAt(bytes: Uint8Array, bit: number): "zero" | "one" {
  return ((bytes[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1 ? "one" : "zero";
}
