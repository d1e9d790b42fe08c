// Which subnet a node takes: one it had before if that is still right and free, else a random one of the first
// hundred that are free. Always from the front, so that a large network fills up densely; random, so that many nodes
// starting at once seldom want the same one (upstream's way, both).
//
// Taken subnets are held as intervals of positions in the range (position 0 is SubnetMin), so the cost follows the
// number of leases and never the size of the range: an IPv6 /48 has 65,536 subnets of /64, a /16 has 2^48.

import type { SubnetRange } from "../config/network.ts";
import { addressNumber } from "../ip/address.ts";
import { ADDRESS_BITS, FAMILIES, type Family, mapFamilies, type PerFamily } from "../ip/family.ts";
import { isNetwork, type Prefix, prefixAddress, prefixFamily, prefixLength, subnetAfter } from "../ip/prefix.ts";

/** How many free subnets the random choice is among. */
const CHOICES = 100;

/** A family's range has no free subnet. */
export interface Full {
  readonly kind: "full";
  readonly family: Family;
  readonly range: SubnetRange;
  /** How many subnets the range has, all taken. */
  readonly count: bigint;
}

/** Whether a lease of `subnet` can come from this range: right length, on a boundary, within SubnetMin..SubnetMax. */
export function isSubnetOf(range: SubnetRange, subnet: Prefix): boolean {
  if (prefixFamily(subnet) !== prefixFamily(range.network) || prefixLength(subnet) !== range.subnetLength) return false;
  if (!isNetwork(subnet)) return false;
  const base = addressNumber(prefixAddress(subnet));
  return base >= addressNumber(prefixAddress(range.first)) && base <= addressNumber(prefixAddress(range.last));
}

/** Whether `subnets` has exactly the configured families, each a subnet of its range. */
export function fitsRanges(ranges: PerFamily<SubnetRange>, subnets: PerFamily<Prefix>): boolean {
  return FAMILIES.every((family) => {
    const [range, subnet] = [ranges[family], subnets[family]];
    return range && subnet ? isSubnetOf(range, subnet) : !range && !subnet;
  });
}

/** How many subnets may be leased from a range. */
export function subnetCount(range: SubnetRange): bigint {
  return positionsIn(range)(addressNumber(prefixAddress(range.last))) + 1n;
}

/**
 * A free subnet in each configured family. `wishes` come in order of preference and are taken family by family, so
 * that a node which gets a second family keeps the subnet of the first. `random` yields numbers in [0, 1).
 */
export function chooseSubnets(
  ranges: PerFamily<SubnetRange>,
  taken: Iterable<PerFamily<Prefix>>,
  wishes: readonly PerFamily<Prefix>[],
  random: () => number,
): PerFamily<Prefix> | Full {
  const all = [...taken];
  const choices: { ipv4?: readonly Prefix[]; ipv6?: readonly Prefix[] } = {};
  for (const family of FAMILIES) {
    const range = ranges[family];
    if (!range) continue;
    const intervals = takenIntervals(
      range,
      all.flatMap((subnets) => subnets[family] ?? []),
    );
    const wish = wishes
      .flatMap((subnets) => subnets[family] ?? [])
      .find((subnet) => isSubnetOf(range, subnet) && isFree(intervals, range, subnet));
    const free = wish ? [wish] : firstFree(range, intervals, CHOICES);
    if (free.length === 0) return { kind: "full", family, range, count: subnetCount(range) };
    choices[family] = free;
  }
  // One draw for both families: nodes that race then mostly pick the same pair or pairs with nothing in common, and
  // of those that pick the same pair all but one learn it from the key itself. Two draws would make pairs that share
  // one half, which only a second look finds out.
  const draw = random();
  const fewest = Math.min(...Object.values(choices).map((free) => (free.length > 1 ? free.length : CHOICES)));
  return mapFamilies(choices, (free) => free[free.length > 1 ? Math.floor(draw * fewest) : 0]);
}

/**
 * Whether two of `subnets` cannot both stay, which a race leaves behind for a moment: the later of the two will be
 * given up.
 */
export function haveRivals(subnets: readonly PerFamily<Prefix>[]): boolean {
  return FAMILIES.some((family) => {
    const intervals = subnets.flatMap((each) => each[family] ?? []).map(addressInterval);
    intervals.sort(byStart);
    return intervals.some(([from], i) => i > 0 && from <= (intervals[i - 1]?.[1] ?? -1n));
  });
}

/** First and last taken position, both inclusive. */
type Interval = readonly [bigint, bigint];

/** Turns an address into the position of the subnet that holds it; negative before SubnetMin. */
function positionsIn(range: SubnetRange): (address: bigint) => bigint {
  const first = addressNumber(prefixAddress(range.first));
  const hostBits = BigInt(ADDRESS_BITS[prefixFamily(range.network)] - range.subnetLength);
  return (address) => (address - first) >> hostBits;
}

/** First and last address of a subnet. */
function addressInterval(subnet: Prefix): Interval {
  const base = addressNumber(prefixAddress(subnet));
  return [base, base + (1n << BigInt(ADDRESS_BITS[prefixFamily(subnet)] - prefixLength(subnet))) - 1n];
}

/** What taken subnets, of whatever length, cover of the range: sorted, not overlapping. */
function takenIntervals(range: SubnetRange, taken: readonly Prefix[]): Interval[] {
  const position = positionsIn(range);
  const last = subnetCount(range) - 1n;
  const found: Interval[] = [];
  for (const subnet of taken) {
    const [from, to] = addressInterval(subnet).map(position) as [bigint, bigint];
    if (to >= 0n && from <= last) found.push([from < 0n ? 0n : from, to > last ? last : to]);
  }
  return merge(found);
}

function merge(intervals: Interval[]): Interval[] {
  const merged: Interval[] = [];
  for (const [from, to] of intervals.sort(byStart)) {
    const before = merged.at(-1);
    if (!before || from > before[1] + 1n) merged.push([from, to]);
    else if (to > before[1]) merged[merged.length - 1] = [before[0], to];
  }
  return merged;
}

function byStart(a: Interval, b: Interval): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}

function isFree(intervals: readonly Interval[], range: SubnetRange, subnet: Prefix): boolean {
  const at = positionsIn(range)(addressNumber(prefixAddress(subnet)));
  return !intervals.some(([from, to]) => from <= at && at <= to);
}

/** The first `limit` free subnets, in order. */
function firstFree(range: SubnetRange, intervals: readonly Interval[], limit: number): Prefix[] {
  const free: Prefix[] = [];
  const count = subnetCount(range);
  let at = 0n;
  for (const [from, to] of [...intervals, [count, count] as const]) {
    for (; at < from && free.length < limit; at++) free.push(subnetAfter(range.first, at));
    if (free.length >= limit) break;
    at = to + 1n;
  }
  return free;
}
