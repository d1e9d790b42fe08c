import { describe, expect, test } from "bun:test";
import type { SubnetRange } from "../config/network.ts";
import type { PerFamily } from "../ip/family.ts";
import { type Prefix, parsePrefix, subnetAfter } from "../ip/prefix.ts";
import { chooseSubnets, fitsRanges, haveRivals, isSubnetOf, subnetCount } from "./allocation.ts";

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed) throw new Error(`not a prefix: ${text}`);
  return parsed;
}

function range(network: string, subnetLength: number, first: string, last: string): SubnetRange {
  return { network: prefix(network), subnetLength, first: prefix(first), last: prefix(last) };
}

const RANGES = {
  ipv4: range("10.5.0.0/16", 24, "10.5.1.0/24", "10.5.255.0/24"),
  ipv6: range("fd00::/48", 64, "fd00:0:0:1::/64", "fd00:0:0:ffff::/64"),
} as const;
const FAMILIES = ["ipv4", "ipv6"] as const;

/** The first `count` subnets of a family, leased. */
function leased(family: "ipv4" | "ipv6", count: number): PerFamily<Prefix>[] {
  return Array.from({ length: count }, (_, i) => ({ [family]: subnetAfter(RANGES[family].first, BigInt(i)) }));
}

describe("isSubnetOf takes the right length, on a boundary, within SubnetMin..SubnetMax", () => {
  const rows: [string, SubnetRange, boolean][] = [
    ["10.5.1.0/24", RANGES.ipv4, true],
    ["10.5.255.0/24", RANGES.ipv4, true],
    ["10.5.0.0/24", RANGES.ipv4, false],
    ["10.6.1.0/24", RANGES.ipv4, false],
    ["10.5.2.0/25", RANGES.ipv4, false],
    ["10.5.2.0/23", RANGES.ipv4, false],
    ["10.5.2.1/24", RANGES.ipv4, false],
    ["fd00:0:0:1::/64", RANGES.ipv4, false],
    ["fd00:0:0:1::/64", RANGES.ipv6, true],
    ["fd00::/64", RANGES.ipv6, false],
    ["fd00:0:1::/64", RANGES.ipv6, false],
  ];
  test.each(rows)("%s", (subnet, of, expected) => expect(isSubnetOf(of, prefix(subnet))).toBe(expected));
});

test("fitsRanges wants exactly the configured families", () => {
  const both = { ipv4: prefix("10.5.1.0/24"), ipv6: prefix("fd00:0:0:1::/64") };
  expect(fitsRanges(RANGES, both)).toBe(true);
  expect(fitsRanges(RANGES, { ipv4: both.ipv4 })).toBe(false);
  expect(fitsRanges({ ipv4: RANGES.ipv4 }, both)).toBe(false);
  expect(fitsRanges({ ipv6: RANGES.ipv6 }, { ipv6: both.ipv6 })).toBe(true);
});

describe.each(FAMILIES)("chooseSubnets in %s", (family) => {
  const ranges = { [family]: RANGES[family] };
  const at = (position: number) => subnetAfter(RANGES[family].first, BigInt(position));

  test("takes one of the first hundred free, whichever the draw says", () => {
    expect(chooseSubnets(ranges, [], [], () => 0)).toEqual({ [family]: at(0) });
    expect(chooseSubnets(ranges, [], [], () => 0.999)).toEqual({ [family]: at(99) });
    expect(chooseSubnets(ranges, leased(family, 30), [], () => 0)).toEqual({ [family]: at(30) });
    expect(chooseSubnets(ranges, leased(family, 30), [], () => 0.5)).toEqual({ [family]: at(80) });
  });

  test("takes the first wish that is right and free", () => {
    const taken = leased(family, 3);
    const wish = (position: number) => ({ [family]: at(position) });
    expect(chooseSubnets(ranges, taken, [wish(7), wish(8)], () => 0)).toEqual(wish(7));
    expect(chooseSubnets(ranges, taken, [wish(1), wish(8)], () => 0)).toEqual(wish(8));
    expect(chooseSubnets(ranges, taken, [wish(-1), wish(2)], () => 0)).toEqual(wish(3));
  });

  test("keeps clear of leases of another length", () => {
    const longer = prefix(family === "ipv4" ? "10.5.1.128/25" : "fd00:0:0:1:8000::/65");
    const shorter = prefix(family === "ipv4" ? "10.5.0.0/22" : "fd00::/62");
    expect(chooseSubnets(ranges, [{ [family]: longer }], [], () => 0)).toEqual({ [family]: at(1) });
    expect(chooseSubnets(ranges, [{ [family]: shorter }], [], () => 0)).toEqual({ [family]: at(3) });
  });

  test("is full exactly when the last free one is gone", () => {
    const small = { ...RANGES[family], last: at(7) };
    const seven = leased(family, 8).filter((_, i) => i !== 5);
    expect(chooseSubnets({ [family]: small }, seven, [], () => 0.7)).toEqual({ [family]: at(5) });
    expect(chooseSubnets({ [family]: small }, leased(family, 8), [{ [family]: at(5) }], () => 0)).toEqual({
      kind: "full",
      family,
      range: small,
      count: 8n,
    });
  });
});

test("two families share one draw, so that racing nodes collide on whole keys", () => {
  const small = { ...RANGES.ipv4, last: prefix("10.5.8.0/24") };
  expect(chooseSubnets({ ipv4: small, ipv6: RANGES.ipv6 }, [], [], () => 0.5)).toEqual({
    ipv4: prefix("10.5.5.0/24"),
    ipv6: prefix("fd00:0:0:5::/64"),
  });
});

test("a node that gets a second family keeps the subnet of the first", () => {
  expect(chooseSubnets(RANGES, [], [{ ipv4: prefix("10.5.42.0/24") }], () => 0)).toEqual({
    ipv4: prefix("10.5.42.0/24"),
    ipv6: prefix("fd00:0:0:1::/64"),
  });
});

test("one full family makes the pair full", () => {
  const one = { ...RANGES.ipv6, last: RANGES.ipv6.first };
  expect(chooseSubnets({ ipv4: RANGES.ipv4, ipv6: one }, leased("ipv6", 1), [], () => 0)).toMatchObject({
    kind: "full",
    family: "ipv6",
    count: 1n,
  });
});

test("a range of 2^48 subnets is counted, not listed", () => {
  const huge = range("fd00::/16", 64, "fd00:0:0:1::/64", "fd00:ffff:ffff:ffff::/64");
  expect(subnetCount(huge)).toBe(2n ** 48n - 1n);
  const allButLast = [
    { ipv6: prefix("fd00::/17") },
    { ipv6: prefix("fd00:8000::/18") },
    { ipv6: prefix("fd00:c000::/19") },
  ];
  expect(chooseSubnets({ ipv6: huge }, allButLast, [], () => 0)).toEqual({ ipv6: prefix("fd00:e000::/64") });
});

test("haveRivals sees two leases that overlap in one family", () => {
  const row = (ipv4: string, ipv6: string) => ({ ipv4: prefix(ipv4), ipv6: prefix(ipv6) });
  const a = row("10.5.1.0/24", "fd00:0:0:1::/64");
  expect(haveRivals([a, row("10.5.2.0/24", "fd00:0:0:2::/64")])).toBe(false);
  expect(haveRivals([a, row("10.5.2.0/24", "fd00:0:0:1::/64")])).toBe(true);
  expect(haveRivals([a, { ipv4: prefix("10.5.1.128/25") }])).toBe(true);
});
