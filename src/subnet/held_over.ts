// A store that lost its data (a cluster made anew, an old backup restored, the file replaced) says "there are no leases"
// as calmly as one whose nodes have all left. The difference is its history: what is missing from another life of the
// store was removed by nobody. Such leases are held over: they stay in force until their node has written one again, until
// another node has the subnet, or until a grace period is over. Every node writes its own lease again as soon as it finds
// it missing (keep.ts), so mostly this takes seconds.

import { parseLeaseAttributes } from "../lease/attributes.ts";
import { parseLeaseKey } from "../lease/key.ts";
import { hasPublicIp, subnetsOverlap } from "./known_lease.ts";
import type { Change, RegistryEntry, Snapshot } from "./registry.ts";

export class HeldOver {
  readonly #graceMs: number;
  readonly #now: () => number;
  readonly #onLoss: (missing: number) => void;
  /** What is in force, by key: as the store told it last, and what is held over. */
  readonly #known = new Map<string, RegistryEntry>();
  /** Key of a lease held over → until when, by `now`. */
  readonly #held = new Map<string, number>();
  #history: string | undefined;

  /** `now`: monotonic, in milliseconds. `onLoss` is told how many leases are missing when the store has lost some. */
  constructor(graceMs: number, now: () => number, onLoss: (missing: number) => void) {
    this.#graceMs = graceMs;
    this.#now = now;
    this.#onLoss = onLoss;
  }

  /** What is held over, for whoever chooses a subnet: it is taken. */
  get entries(): readonly RegistryEntry[] {
    return [...this.#held.keys()].flatMap((key) => this.#known.get(key) ?? []);
  }

  /** Milliseconds until the next lease held over has to go; undefined when there is none. */
  get remainingMs(): number | undefined {
    if (this.#held.size === 0) return undefined;
    return Math.max(0, Math.min(...this.#held.values()) - this.#now());
  }

  /** The leases in force now that the whole store was read, those held over last. `isOwn`: this node's leases are its own to write. */
  whole(snapshot: Snapshot, isOwn: (entry: RegistryEntry) => boolean): RegistryEntry[] {
    const { entries, history } = snapshot;
    const present = new Set(entries.map(({ key }) => key));
    const lost = this.#history !== undefined && this.#history !== history;
    this.#history = history;
    const until = this.#now() + this.#graceMs;
    let missing = 0;
    for (const [key, entry] of [...this.#known]) {
      if (present.has(key)) continue;
      if (lost && !isOwn(entry)) {
        missing++;
        if (!this.#held.has(key)) this.#held.set(key, until);
      } else if (!this.#held.has(key)) this.#known.delete(key);
    }
    for (const entry of entries) this.#put(entry);
    if (missing > 0) this.#onLoss(missing);
    return [...entries, ...this.entries];
  }

  /** What a batch of changes comes to: a lease that is back ends the holding, and so does one that takes its place. */
  apply(changes: readonly Change[]): readonly Change[] {
    return changes.flatMap((change): Change[] => {
      if (change.kind === "put") return [...this.#put(change.entry), change];
      this.#held.delete(change.key);
      this.#known.delete(change.key);
      return [change];
    });
  }

  /** The leases whose grace is over: they go. */
  expire(): readonly Change[] {
    const now = this.#now();
    const over = [...this.#held].filter(([, until]) => until <= now).map(([key]) => key);
    return over.map((key) => this.#drop(key));
  }

  #put(entry: RegistryEntry): Change[] {
    this.#known.set(entry.key, entry);
    this.#held.delete(entry.key);
    if (this.#held.size === 0) return [];
    return this.entries.filter((held) => takesPlace(entry, held)).map(({ key }) => this.#drop(key));
  }

  #drop(key: string): Change {
    this.#held.delete(key);
    this.#known.delete(key);
    return { kind: "remove", key };
  }
}

/** Whether a new lease leaves no room for one held over: its subnet is part of it, or its node lives there now. */
function takesPlace(entry: RegistryEntry, held: RegistryEntry): boolean {
  const [subnet, had] = [parseLeaseKey(entry.key), parseLeaseKey(held.key)];
  if (subnet && had && subnetsOverlap(subnet, had)) return true;
  const [node, before] = [parseLeaseAttributes(entry.value), parseLeaseAttributes(held.value)];
  return !("kind" in node) && !("kind" in before) && hasPublicIp(node, before.publicIp);
}
