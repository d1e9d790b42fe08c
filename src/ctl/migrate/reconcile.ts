// What keeps two stores in step while nodes of one network live on both: for one key, what stands on either side and what was agreed
// last, and out comes at most one write. Pure: no store, no clock. docs/adr/0009-migration.md has the reasons.
//
// Copies are byte for byte what their node wrote, so nothing in a store says which of two entries is the copy. It is told by their
// ends instead: a copy is always given a little less time than its origin has left (`copyEnd`), so of two entries the one that ends
// later is the one that a node renewed last. For the same reason nothing lives on by being copied to and fro: no write ever lets an
// entry end later than a node has asked for on the other side.

import { parseLeaseAttributes } from "../../lease/attributes.ts";
import { hasPublicIp } from "../../subnet/known_lease.ts";

export type Side = "from" | "to";

/** An entry as far as it matters here. */
export interface Held {
  readonly value: string;
  readonly reserved: boolean;
  /** Milliseconds since the epoch; undefined for a reservation, and as long as the store was not asked. */
  readonly endsAt: number | undefined;
}

export type Pair = { readonly [S in Side]: Held | undefined };

/** What both sides held when they were last in step. */
export interface Agreed {
  readonly value: string;
  readonly reserved: boolean;
  /** Where its node lives: the other side's entry is the copy. */
  readonly owner: Side;
  /** The end that the copy was given, to see whether a node has renewed it since. */
  readonly copyEndsAt: number | undefined;
}

export type Step =
  | { readonly kind: "create"; readonly on: Side; readonly value: string; readonly endsAt: number | undefined }
  | { readonly kind: "replace"; readonly on: Side; readonly value: string; readonly endsAt: number | undefined }
  | { readonly kind: "renew"; readonly on: Side; readonly endsAt: number }
  | { readonly kind: "remove"; readonly on: Side }
  /**
   * Two nodes took the same subnet, one on each side: the entry of the one on this side is removed, so that its daemon learns of it
   * and takes another subnet, and the winner's copy is put in its place.
   */
  | { readonly kind: "evict"; readonly on: Side; readonly value: string; readonly endsAt: number | undefined };

export interface Decision {
  readonly step: Step | undefined;
  /** What holds once the step is done; undefined forgets the key. */
  readonly agreed: Agreed | undefined;
  /** What only an operator can settle. */
  readonly problem?: string;
}

export interface CopyTiming {
  /** How much earlier than its origin a copy ends; a tenth of what is left when that is less. */
  readonly marginMs: number;
  /** What has less time left is not copied any more. Ten times the roughness of a store's clock, or its copy could end later. */
  readonly leastMs: number;
}

/** A minute is more than the clocks of one cluster differ by; etcd counts in seconds. */
export const COPY_TIMING: CopyTiming = { marginMs: 60_000, leastMs: 10_000 };

export function otherSide(side: Side): Side {
  return side === "from" ? "to" : "from";
}

/** `now` in milliseconds since the epoch. */
export function decide(pair: Pair, agreed: Agreed | undefined, timing: CopyTiming, now: number): Decision {
  const { from, to } = pair;
  if (from && to) {
    const same = from.value === to.value && from.reserved === to.reserved;
    return same ? follow(pair, from, to, agreed, timing, now) : settle(pair, from, to, agreed, timing, now);
  }
  if (from) return single("from", from, agreed, timing, now);
  if (to) return single("to", to, agreed, timing, now);
  return { step: undefined, agreed: undefined };
}

/** One side has it alone: it is new and is copied, or its origin is gone and it goes too. */
function single(side: Side, held: Held, agreed: Agreed | undefined, timing: CopyTiming, now: number): Decision {
  const missing = otherSide(side);
  // A reservation is an operator's word, which may be taken back on either side; a lease only where its node is: a copy that is gone
  // may have expired while nobody could renew it.
  const wasRemoved = agreed !== undefined && (agreed.owner === missing || agreed.reserved);
  if (wasRemoved && held.value === agreed.value && held.reserved === agreed.reserved) {
    if (!held.reserved && held.endsAt === undefined) return { step: undefined, agreed };
    if (!wasRenewed(held.endsAt, agreed, timing, now)) return { step: { kind: "remove", on: side }, agreed: undefined };
  }
  return copyTo("create", missing, held, agreed, timing, now);
}

/** Both hold the same: the copy is given more time when its origin has more. */
function follow(
  pair: Pair,
  from: Held,
  to: Held,
  agreed: Agreed | undefined,
  timing: CopyTiming,
  now: number,
): Decision {
  const { value, reserved } = from;
  if (reserved)
    return { step: undefined, agreed: { value, reserved, owner: agreed?.owner ?? "to", copyEndsAt: undefined } };
  if (from.endsAt === undefined || to.endsAt === undefined) return { step: undefined, agreed };
  const owner = ownerOf(from.endsAt, to.endsAt, agreed, timing, now);
  const copy = otherSide(owner);
  const copyEndsAt = pair[copy]?.endsAt ?? now;
  const wanted = copyEnd(pair[owner]?.endsAt, timing, now);
  const late = wanted !== undefined && copyEndsAt < wanted - marginOf(wanted, timing, now) / 2;
  return {
    step: late ? { kind: "renew", on: copy, endsAt: wanted } : undefined,
    agreed: { value, reserved, owner, copyEndsAt: late ? wanted : copyEndsAt },
  };
}

/** They differ: whoever changed it has the last word, unless two nodes want one subnet. */
function settle(
  pair: Pair,
  from: Held,
  to: Held,
  agreed: Agreed | undefined,
  timing: CopyTiming,
  now: number,
): Decision {
  const rivals = from.value !== to.value && !isSameNode(from.value, to.value);
  const winner = winnerOf(from, to, rivals, agreed, timing, now);
  const loser = otherSide(winner);
  const [won, lost] = [pair[winner], pair[loser]];
  if (!won || !lost) return { step: undefined, agreed };
  // That the owner's entry is another node's now is no quarrel with its own copy.
  const isOldCopy = agreed && (agreed.owner === winner || agreed.reserved) && !differs(lost, agreed);
  if (!rivals || isOldCopy) return copyTo("replace", loser, won, agreed, timing, now);
  if (lost.reserved) {
    const problem = "it is reserved for different nodes on the two sides; unreserve one of them";
    return { step: undefined, agreed: undefined, problem };
  }
  return copyTo("evict", loser, won, agreed, timing, now);
}

function winnerOf(
  from: Held,
  to: Held,
  rivals: boolean,
  agreed: Agreed | undefined,
  timing: CopyTiming,
  now: number,
): Side {
  const changed: Side[] = agreed
    ? [...(differs(from, agreed) ? ["from" as const] : []), ...(differs(to, agreed) ? ["to" as const] : [])]
    : [];
  const [only, both] = changed;
  // An intruder on the copy's side has only found a gap: who was there first stays.
  if (agreed && only && !both) return rivals && !from.reserved && !to.reserved ? agreed.owner : only;
  if (from.reserved !== to.reserved) return from.reserved ? "from" : "to";
  if (rivals || from.endsAt === undefined || to.endsAt === undefined) return "to";
  return ownerOf(from.endsAt, to.endsAt, undefined, timing, now);
}

/** A copy of `held` on side `on`, with a little less time than it has; nothing when that is too little, or not known yet. */
function copyTo(
  kind: "create" | "replace" | "evict",
  on: Side,
  held: Held,
  agreed: Agreed | undefined,
  timing: CopyTiming,
  now: number,
): Decision {
  const { value, reserved } = held;
  const endsAt = reserved ? undefined : copyEnd(held.endsAt, timing, now);
  if (!reserved && endsAt === undefined) return { step: undefined, agreed };
  return { step: { kind, on, value, endsAt }, agreed: { value, reserved, owner: otherSide(on), copyEndsAt: endsAt } };
}

/**
 * The side that a node renewed last. A copy ends its margin earlier than its origin, and half of that parts the two cases, so that
 * clocks that count in seconds do no harm. With memory the owner stays, unless the copy ends later than it was made to, and later
 * than its origin's renewal explains (another migration may have followed that).
 */
function ownerOf(from: number, to: number, agreed: Agreed | undefined, timing: CopyTiming, now: number): Side {
  const ends = { from, to };
  if (!agreed) return from > to + marginOf(from, timing, now) / 2 ? "from" : "to";
  const copy = otherSide(agreed.owner);
  const unexplained = ends[copy] > ends[agreed.owner] - marginOf(ends[agreed.owner], timing, now) / 2;
  return unexplained && wasRenewed(ends[copy], agreed, timing, now) ? copy : agreed.owner;
}

function wasRenewed(endsAt: number | undefined, agreed: Agreed, timing: CopyTiming, now: number): boolean {
  if (endsAt === undefined || agreed.copyEndsAt === undefined) return false;
  return endsAt > agreed.copyEndsAt + marginOf(endsAt, timing, now) / 2;
}

function copyEnd(originEndsAt: number | undefined, timing: CopyTiming, now: number): number | undefined {
  if (originEndsAt === undefined || originEndsAt - now < timing.leastMs) return undefined;
  return originEndsAt - marginOf(originEndsAt, timing, now);
}

function marginOf(endsAt: number, timing: CopyTiming, now: number): number {
  return Math.min(timing.marginMs, Math.max(0, endsAt - now) / 10);
}

function differs(held: Held, agreed: Agreed): boolean {
  return held.value !== agreed.value || held.reserved !== agreed.reserved;
}

/** Whether two values are of one node: they share a public IP. */
function isSameNode(a: string, b: string): boolean {
  const [one, other] = [parseLeaseAttributes(a), parseLeaseAttributes(b)];
  return !("kind" in one) && !("kind" in other) && hasPublicIp(one, other.publicIp);
}
