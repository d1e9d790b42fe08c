// When the entries of one side end. The embedded store and etcd v2 tell it with every reading; etcd v3 has to be asked for each lease,
// so its answers are kept until the entry changes, or until somebody wants to know whether it was renewed.

import type { Registry, RegistryEntry } from "../../subnet/registry.ts";
import { inBatches } from "../in_batches.ts";

/** Requests at a time. */
const LIMIT = 16;

export class EndTimes {
  readonly #registry: Registry;
  readonly #known = new Map<string, { readonly revision: string; readonly endsAt: number | undefined }>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Asks for what is not known, and again for keys of which `isStale`. */
  async learn(entries: Iterable<RegistryEntry>, isStale: (key: string) => boolean, signal: AbortSignal): Promise<void> {
    const unknown: RegistryEntry[] = [];
    const present = new Set<string>();
    for (const entry of entries) {
      present.add(entry.key);
      const current = this.#known.get(entry.key)?.revision === entry.revision;
      if (entry.expiresAt === undefined && !entry.reserved && (!current || isStale(entry.key))) unknown.push(entry);
    }
    for (const key of this.#known.keys()) if (!present.has(key)) this.#known.delete(key);
    await inBatches(unknown, LIMIT, async (entry) => this.note(entry, await this.#registry.expiry(entry, signal)));
  }

  /** What somebody learnt of this entry by writing it. */
  note(entry: RegistryEntry, endsAt: number | undefined): void {
    this.#known.set(entry.key, { revision: entry.revision, endsAt });
  }

  /** Milliseconds since the epoch; undefined for a reservation, and for what the store did not tell. */
  of(entry: RegistryEntry): number | undefined {
    if (entry.reserved) return undefined;
    if (entry.expiresAt !== undefined) return entry.expiresAt;
    const known = this.#known.get(entry.key);
    return known?.revision === entry.revision ? known.endsAt : undefined;
  }
}
