import { expect, test } from "bun:test";
import { OWNERSHIP } from "../../test/kernel/linux_world.ts";
import type { Prefix } from "../ip/prefix.ts";
import { NexthopIds } from "./nexthop_ids.ts";
import { isOurNexthop, isOurRoute, nexthopRange } from "./ownership.ts";

const hop = (gateway: string, dev = "flannel.1") => ({ gateway: gateway as never, dev });

test("isOurRoute() goes by protocol and place, never by one alone", () => {
  const rows = [
    ["10.5.2.0/24", 70, "flannel.1", true],
    ["10.9.2.0/24", 70, "flannel.1", true], // of a network this was before
    ["10.5.2.0/24", 70, "eth0", true], // direct routing
    ["10.9.2.0/24", 70, "eth0", false], // another flanneld's
    ["10.5.2.0/24", 3, "flannel.1", true], // upstream's
    ["10.5.2.0/24", 3, "eth0", false],
    ["10.9.2.0/24", 3, "flannel.1", false],
    ["10.5.2.0/24", 4, "flannel.1", false], // an operator's, static
    ["fd00:5:0:2::/64", 70, "eth0", true],
  ] as const;
  for (const [dst, protocol, dev, expected] of rows) {
    expect([dst, protocol, dev, isOurRoute(OWNERSHIP, dst as Prefix, protocol, dev)]).toEqual([
      dst,
      protocol,
      dev,
      expected,
    ]);
  }
});

test("isOurNexthop() wants protocol 70, and our link or our range", () => {
  const { first, size } = nexthopRange(OWNERSHIP.networks.ipv4 as Prefix);
  expect(isOurNexthop(OWNERSHIP, 5, 70, "flannel.1")).toBe(true);
  expect(isOurNexthop(OWNERSHIP, first, 70, "eth0")).toBe(true);
  expect(isOurNexthop(OWNERSHIP, first + size, 70, "eth0")).toBe(false);
  expect(isOurNexthop(OWNERSHIP, first, 11, "flannel.1")).toBe(false); // zebra
});

test("nexthopRange() is within 32 bits, and different for different networks", () => {
  const firsts = Array.from({ length: 200 }, (_, i) => nexthopRange(`10.${i}.0.0/16` as Prefix).first);
  expect(Math.max(...firsts) + 2 ** 18).toBeLessThanOrEqual(2 ** 32);
  expect(Math.min(...firsts)).toBeGreaterThanOrEqual(2 ** 30);
  expect(new Set(firsts).size).toBeGreaterThan(180);
});

test("NexthopIds skips ids that somebody else has, and keeps those it gave", () => {
  const ids = new NexthopIds(OWNERSHIP.networks);
  const { first } = nexthopRange(OWNERSHIP.networks.ipv4 as Prefix);
  ids.avoid(first);
  expect(ids.reserve(hop("10.5.2.0"))).toBe(first + 1);
  ids.set(first + 1, hop("10.5.2.0"));
  expect(ids.reserve(hop("10.5.2.0"))).toBe(first + 1);
  expect(ids.reserve(hop("10.5.3.0"))).toBe(first + 2);
  expect(ids.hopOf(first + 1)).toEqual(hop("10.5.2.0"));
  ids.forgetDevice("flannel.1");
  expect(ids.get(hop("10.5.2.0"))).toBeUndefined();
});
