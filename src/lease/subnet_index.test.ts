import { describe, expect, test } from "bun:test";
import { addressFromBytes } from "../ip/address.ts";
import { makePrefix, networkOf, overlaps, type Prefix } from "../ip/prefix.ts";
import type { LeaseKey } from "./key.ts";
import { SubnetIndex } from "./subnet_index.ts";

const NETWORKS = [
  { name: "ipv4", network: "10.5.0.0/16" as Prefix, bytes: [10, 5, 0, 0] },
  { name: "ipv6", network: "fd00:5::/112" as Prefix, bytes: [0xfd, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
] as const;

describe.each(NETWORKS)("$name", ({ network, bytes }) => {
  /** The `step`th of a fixed sequence of subnets, of every length that the network allows. */
  const subnetAt = (step: number): Prefix => {
    const random = Math.imul(step + 1, 0x9e3779b1) >>> 0;
    const address = Uint8Array.from(bytes);
    address[bytes.length - 2] = random >>> 24;
    address[bytes.length - 1] = random >>> 16;
    return networkOf(makePrefix(addressFromBytes(address), bytes.length * 8 - 16 + (random % 17)));
  };

  test("overlapping answers as a comparison with every subnet does, through additions and removals", () => {
    const index = new SubnetIndex(network);
    const held = new Map<LeaseKey, Prefix>();
    let found = 0;
    for (let step = 0; step < 4_000; step++) {
      const subnet = subnetAt(step);
      const rivals = [...held].filter(([, other]) => overlaps(other, subnet)).map(([key]) => key);
      const rival = index.overlapping(subnet);
      if (rivals.length > 0) expect(rivals).toContain(rival as LeaseKey);
      else expect(rival).toBeUndefined();
      if (rival === undefined) {
        const key = `lease ${step}` as LeaseKey;
        index.add(subnet, key);
        held.set(key, subnet);
        continue;
      }
      found++;
      // All rivals go, so that short prefixes come in again and again.
      for (const key of rivals) {
        index.remove(held.get(key) ?? subnet);
        held.delete(key);
      }
    }
    expect(found).toBeGreaterThan(500);
  });

  test("the whole network as one subnet overlaps everything, until it is removed", () => {
    const index = new SubnetIndex(network);
    index.add(network, "all" as LeaseKey);
    expect(index.overlapping(subnetAt(1))).toBe("all" as LeaseKey);
    index.remove(network);
    expect(index.overlapping(network)).toBeUndefined();
  });
});
