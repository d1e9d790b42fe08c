// Addresses as a table and as JSON; how full a network is, in words: for somebody who reads "no IP addresses available in range set" in a pod's events.

import type { Address } from "../../ip/address.ts";
import { durationText } from "../subnets/print.ts";
import { tableLines } from "../terminal.ts";
import { type Judged, STATES, type State } from "./judge.ts";
import { inRange, type KnownRanges, type Range, sizeOf } from "./ranges.ts";

/** As crictl shows ids; --json has all of it. */
const ID_LENGTH = 13;

export function reservationTable(judged: readonly Judged[], now: number): string[] {
  const rows = judged.map(({ address, containerId, ifname, network, since, state, reason }) => [
    address,
    containerId?.slice(0, ID_LENGTH) ?? "?",
    ifname || "-",
    network,
    durationText(now - since),
    state,
    reason,
  ]);
  return tableLines([["ADDRESS", "CONTAINER", "IFNAME", "NETWORK", "SINCE", "STATE", ""], ...rows]);
}

export function reservationJson({ address, containerId, ifname, network, since, state, reason }: Judged): object {
  const sinceText = new Date(since).toISOString();
  return { address, containerId: containerId ?? null, ifname, network, since: sinceText, state, reason };
}

export interface RangeUse {
  readonly subnet: string;
  readonly first: Address;
  readonly last: Address;
  /** Addresses that can be given out; all counts are numbers as far as JSON has them, else text. */
  readonly size: bigint;
  readonly counts: Readonly<Record<State, number>>;
}

export interface NetworkUse {
  readonly network: string;
  /** Where the ranges stand. */
  readonly source: string;
  readonly ranges: readonly RangeUse[];
  /** Given out from none of the ranges: of a subnet that the node had before. */
  readonly outside: Readonly<Record<State, number>>;
}

export function networkUses(judged: readonly Judged[], known: KnownRanges): NetworkUse[] {
  const networks = Map.groupBy(judged, ({ network }) => network);
  return [...networks].map(([network, own]) => {
    const { ranges, source } = known.of(network);
    const within = (range: Range) => own.filter(({ address }) => inRange(range, address));
    const outside = own.filter(({ address }) => !ranges.some((range) => inRange(range, address)));
    return {
      network,
      source,
      ranges: ranges.map((range) => {
        const { subnet, first, last } = range;
        return { subnet, first, last, size: sizeOf(range), counts: countsOf(within(range)) };
      }),
      outside: countsOf(outside),
    };
  });
}

/** Lines for one network. */
export function useText({ network, source, ranges, outside }: NetworkUse): string[] {
  const lines = ranges.flatMap(({ subnet, first, last, size, counts }) => {
    const taken = takenOf(counts);
    const left = size - BigInt(taken);
    const head = `${network}: ${subnet}: ${taken} of ${sizeText(size)} addresses taken: ${countsText(counts)}`;
    if (left > 0n) return [head];
    const why = counts.leaked > 0 ? `${counts.leaked} of them are leaked` : "none of them is leaked: the node is full";
    return [head, `${network}: no address is left from ${first} to ${last} (by ${source}); ${why}`];
  });
  if (takenOf(outside) > 0)
    lines.push(
      `${network}: ${takenOf(outside)} taken outside the ranges of now (by ${source}): ${countsText(outside)}`,
    );
  const leaked = leakedOf({ ranges, outside });
  return leaked === 0
    ? lines
    : [
        ...lines,
        `${network}: to free ${leaked === 1 ? "it" : `the ${leaked}`}: flannelctl ipam gc --network=${network}`,
      ];
}

export function useJson({ network, source, ranges, outside }: NetworkUse): object {
  const exact = (value: bigint) => (value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : String(value));
  return {
    network,
    source,
    ranges: ranges.map(({ size, counts, ...range }) => {
      const taken = takenOf(counts);
      return { ...range, size: exact(size), taken, free: exact(size - BigInt(taken)), ...counts };
    }),
    outside,
  };
}

export function leakedOf({ ranges, outside }: Pick<NetworkUse, "ranges" | "outside">): number {
  return ranges.reduce((sum, { counts }) => sum + counts.leaked, outside.leaked);
}

function countsOf(judged: readonly Judged[]): Readonly<Record<State, number>> {
  const count = (wanted: State) => judged.filter(({ state }) => state === wanted).length;
  return { used: count("used"), leaked: count("leaked"), unknown: count("unknown") };
}

function takenOf(counts: Readonly<Record<State, number>>): number {
  return STATES.reduce((sum, state) => sum + counts[state], 0);
}

function countsText(counts: Readonly<Record<State, number>>): string {
  return STATES.map((state) => `${counts[state]} ${state}`).join(", ");
}

/** IPv6 ranges are beyond counting. */
function sizeText(size: bigint): string {
  return size < 1_000_000_000n ? String(size) : `2^${size.toString(2).length}`;
}
