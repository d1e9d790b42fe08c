// What the outside observer is asked and answers: both sides of the pipe between bench/observer.ts and
// bench/watcher.ts.

/** What one vxlan peer is made of in the kernel. */
export const KINDS = ["neighbour", "fdb", "nexthop", "route"] as const;
export type Kind = (typeof KINDS)[number];
export type Counts = Readonly<Record<Kind, number>>;

/** Counted from the moment it is asked for. */
export interface Expectation {
  /** Notifications of objects made or replaced, at least. */
  readonly made?: Partial<Counts>;
  /** Notifications of objects gone, at least. */
  readonly gone?: Partial<Counts>;
  /** The device was set up. */
  readonly up?: boolean;
  /** A file of this name appeared in the watched directory. */
  readonly file?: string;
  /** status.json said "ready". */
  readonly ready?: boolean;
}

export interface Seen {
  /** Milliseconds since the epoch, with fractions: `now()`. */
  readonly at: number;
  /** Since the watcher began. */
  readonly made: Counts;
  readonly gone: Counts;
}

export type Question = { readonly id: number; readonly expectation: Expectation };
export type Reply =
  | { readonly kind: "ready" }
  | { readonly kind: "armed"; readonly id: number }
  | ({ readonly kind: "met"; readonly id: number } & Seen)
  | { readonly kind: "lost"; readonly reason: string };

/** One clock for all processes, finer than Date.now(). */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

export function noCounts(): Record<Kind, number> {
  return { neighbour: 0, fdb: 0, nexthop: 0, route: 0 };
}

/** `count` of each kind. */
export function each(count: number): Counts {
  return { neighbour: count, fdb: count, nexthop: count, route: count };
}
