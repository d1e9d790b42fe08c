// Whether an address that was given out is used, leaked, or neither for certain. Only what everything speaks for is leaked: it will be freed.

import { durationText } from "../subnets/print.ts";
import type { NamespaceView } from "./namespaces.ts";
import type { Reservation } from "./reservations.ts";
import type { RuntimeView } from "./runtimes.ts";

export const STATES = ["used", "leaked", "unknown"] as const;
export type State = (typeof STATES)[number];

export interface Judged extends Reservation {
  readonly state: State;
  /** Why, as half a sentence. */
  readonly reason: string;
}

export interface Evidence {
  readonly namespaces: NamespaceView;
  readonly runtimes: RuntimeView;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** What is younger may belong to a container that is being made. */
  readonly olderThanMs: number;
}

export function judge(reservation: Reservation, evidence: Evidence): Judged {
  const { namespaces, runtimes, now, olderThanMs } = evidence;
  const is = (state: State, reason: string): Judged => ({ ...reservation, state, reason });
  const { address, containerId, since } = reservation;
  const holder = namespaces.holders.get(address);
  if (holder !== undefined) return is("used", `in the namespace of ${holder}`);
  if (containerId === undefined) return is("unknown", "its file does not name a container");
  const who = runtimes.knownBy.get(containerId);
  if (who !== undefined) return is("unknown", `no namespace has it, but ${who} knows the container`);
  const [doubt] = [...namespaces.doubts, ...runtimes.doubts];
  if (doubt !== undefined) return is("unknown", doubt);
  const age = now - since;
  if (age < 0) return is("unknown", "its file is of a time to come");
  if (age < olderThanMs) return is("unknown", `given out ${durationText(age)} ago: its container may be starting`);
  return is("leaked", `in none of ${namespaces.count} namespaces, and no runtime knows the container`);
}
