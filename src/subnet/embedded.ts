// The embedded store: a registry in one SQLite file, for the flannelds of one machine (simulated nodes in network
// namespaces, tests, a single node without any other store). A change wakes the other processes by inotify on the
// file, within milliseconds and without polling.
//
// A lease whose time is over is gone for every reader at once; the next writer, whoever it is, deletes the row and
// leaves its key for the watchers.

import { StoreBell } from "./embedded_bell.ts";
import {
  type Cursor,
  changesSince,
  entryOf,
  formatRevision,
  type LeaseRow,
  parseRevision,
  readMeta,
  revisionsSince,
} from "./embedded_changes.ts";
import { machineClock } from "./embedded_clock.ts";
import { type OpenStore, StoreFile, type StoreFileOptions } from "./embedded_file.ts";
import { pause } from "./pause.ts";
import type { Batch, Registry, RegistryEntry, Revision, Snapshot, StoredConfig } from "./registry.ts";

export interface EmbeddedOptions extends StoreFileOptions {
  /** How many revisions removed keys are remembered for watchers. */
  readonly history: number;
  /** The least time between two batches of a watch, so that a burst of changes comes as few. */
  readonly coalesceMs: number;
}

const COLUMNS = "key, value, expires_at, revision";

export class EmbeddedRegistry implements Registry {
  readonly #file: StoreFile;
  readonly #bell: StoreBell;
  readonly #options: EmbeddedOptions;

  private constructor(file: StoreFile, options: EmbeddedOptions) {
    this.#file = file;
    this.#bell = new StoreBell(file.path);
    this.#options = options;
  }

  /** Opens the store at `path`, made if missing. Throws StoreError when it cannot be one. */
  static async open(path: string, options: Partial<EmbeddedOptions>, signal: AbortSignal): Promise<EmbeddedRegistry> {
    const all: EmbeddedOptions = {
      clock: machineClock(),
      lockWaitMs: 5000,
      random: Math.random,
      history: 10_000,
      coalesceMs: 10,
      ...options,
    };
    return new EmbeddedRegistry(await StoreFile.open(path, all, signal), all);
  }

  readonly kind = "embedded";
  readonly configKey = undefined;

  get description(): string {
    return this.#file.endpoint;
  }

  config(signal: AbortSignal): Promise<StoredConfig> {
    return this.#file.read((store) => {
      const { config, revision } = readMeta(store);
      return { text: config ?? undefined, revision: formatRevision(store, revision) };
    }, signal);
  }

  setConfig(text: string, signal: AbortSignal): Promise<void> {
    return this.#change(true, signal, (store) => {
      const set = store.db.query<null, [string, number]>("UPDATE meta SET config = ?, config_revision = ?");
      set.run(text, nextRevision(store));
    });
  }

  watchConfig(since: Revision, signal: AbortSignal): AsyncIterable<StoredConfig> {
    const step = (store: OpenStore, cursor: Cursor) => {
      const { since: number, meta } = revisionsSince(store, cursor.revision, this.description);
      const revision = formatRevision(store, meta.revision);
      return {
        item: meta.config_revision > number ? { text: meta.config ?? undefined, revision } : undefined,
        cursor: { revision, time: 0 },
        nextExpiryMs: Number.POSITIVE_INFINITY,
      };
    };
    return this.#follow(since, step, signal);
  }

  entries(signal: AbortSignal): Promise<Snapshot> {
    return this.#file.read((store) => {
      const rows = store.db
        .query<LeaseRow, [number]>(
          `SELECT ${COLUMNS} FROM leases WHERE expires_at IS NULL OR expires_at > ? ORDER BY created`,
        )
        .all(store.now());
      const revision = formatRevision(store, readMeta(store).revision);
      return { entries: rows.map((row) => entryOf(store, row)), revision, history: store.id };
    }, signal);
  }

  entry(key: string, signal: AbortSignal): Promise<{ entry: RegistryEntry | undefined; revision: Revision }> {
    return this.#file.read((store) => {
      const row = readLease(store, key);
      return { entry: row && entryOf(store, row), revision: formatRevision(store, readMeta(store).revision) };
    }, signal);
  }

  createdSince(since: Revision, signal: AbortSignal): Promise<readonly RegistryEntry[]> {
    return this.#file.read((store) => {
      const { since: number } = revisionsSince(store, since, this.description);
      return store.db
        .query<LeaseRow, [number, number]>(
          `SELECT ${COLUMNS} FROM leases WHERE created > ?1 AND (expires_at IS NULL OR expires_at > ?2) ORDER BY created`,
        )
        .all(number, store.now())
        .map((row) => entryOf(store, row));
    }, signal);
  }

  async expiry(entry: RegistryEntry, signal: AbortSignal): Promise<number | undefined> {
    return (await this.entry(entry.key, signal)).entry?.expiresAt;
  }

  create(
    key: string,
    value: string,
    ttlMs: number | undefined,
    signal: AbortSignal,
  ): Promise<RegistryEntry | "exists"> {
    return this.#change(ttlMs === undefined, signal, (store) => {
      if (readLease(store, key)) return "exists";
      const revision = nextRevision(store);
      const row: LeaseRow = { key, value, expires_at: expiryOf(store, ttlMs), revision };
      store.db
        .query<null, [number, string, string, number | null]>(
          "INSERT INTO leases (created, key, value, expires_at, revision) VALUES (?1, ?2, ?3, ?4, ?1)",
        )
        .run(revision, key, value, row.expires_at);
      return entryOf(store, row);
    });
  }

  replace(
    entry: RegistryEntry,
    value: string,
    ttlMs: number | undefined,
    signal: AbortSignal,
  ): Promise<RegistryEntry | "conflict"> {
    return this.#change(ttlMs === undefined, signal, (store) => {
      if (!isCurrent(store, entry)) return "conflict";
      const revision = nextRevision(store);
      const row: LeaseRow = { key: entry.key, value, expires_at: expiryOf(store, ttlMs), revision };
      store.db
        .query<null, [string, number | null, number, string]>(
          "UPDATE leases SET value = ?, expires_at = ?, revision = ? WHERE key = ?",
        )
        .run(value, row.expires_at, revision, entry.key);
      return entryOf(store, row);
    });
  }

  renew(entry: RegistryEntry, ttlMs: number, signal: AbortSignal): Promise<RegistryEntry | "lost"> {
    return this.#change(false, signal, (store) => {
      const row = isCurrent(store, entry);
      if (!row) return "lost";
      if (row.expires_at === null) return entryOf(store, row);
      const expires_at = expiryOf(store, ttlMs);
      store.db
        .query<null, [number | null, string]>("UPDATE leases SET expires_at = ? WHERE key = ?")
        .run(expires_at, entry.key);
      return entryOf(store, { ...row, expires_at });
    });
  }

  remove(entry: RegistryEntry, signal: AbortSignal): Promise<"removed" | "conflict"> {
    return this.#change(entry.expiresAt === undefined, signal, (store) => {
      if (!isCurrent(store, entry)) return "conflict";
      removeLease(store, entry.key);
      return "removed";
    });
  }

  watch(since: Revision, signal: AbortSignal, key?: string): AsyncIterable<Batch> {
    let stands = false;
    const step = (store: OpenStore, from: Cursor) => {
      const { changes, cursor, nextExpiryMs } = changesSince(store, from, key ?? null, this.description);
      const item = changes.length > 0 || !stands ? { changes, revision: cursor.revision } : undefined;
      stands = true;
      return { item, cursor, nextExpiryMs };
    };
    return this.#follow(since, step, signal);
  }

  [Symbol.dispose](): void {
    this.#bell[Symbol.dispose]();
    this.#file[Symbol.dispose]();
  }

  /** Yields what `step` finds, each time the file changes or a lease expires. */
  async *#follow<T>(
    since: Revision,
    step: (store: OpenStore, cursor: Cursor) => { item: T | undefined; cursor: Cursor; nextExpiryMs: number },
    signal: AbortSignal,
  ): AsyncGenerator<T, void, undefined> {
    let cursor: Cursor = { revision: since, time: 0 };
    using listener = this.#bell.listen();
    try {
      for (;;) {
        const found = await this.#file.read((store) => step(store, cursor), signal);
        cursor = found.cursor;
        if (found.item !== undefined) {
          yield found.item;
          await pause(this.#options.coalesceMs, signal);
        }
        await listener.wait(found.nextExpiryMs, signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /**
   * A write: takes out what expired, makes the change, forgets removals that are too old, and wakes the watchers of
   * this process.
   */
  async #change<T>(durable: boolean, signal: AbortSignal, change: (store: OpenStore) => T): Promise<T> {
    const result = await this.#file.write(
      (store) => {
        const expired = store.db.query<{ key: string }, [number]>("SELECT key FROM leases WHERE expires_at <= ?");
        for (const { key } of expired.all(store.now())) removeLease(store, key);
        const changed = change(store);
        forgetRemoved(store, readMeta(store).revision - this.#options.history);
        return changed;
      },
      durable,
      signal,
    );
    this.#bell.ring();
    return result;
  }
}

function nextRevision(store: OpenStore): number {
  const next = store.db.query<{ revision: number }, []>("UPDATE meta SET revision = revision + 1 RETURNING revision");
  return next.get()?.revision ?? 0;
}

function expiryOf(store: OpenStore, ttlMs: number | undefined): number | null {
  return ttlMs === undefined ? null : store.now() + Math.round(ttlMs);
}

function readLease(store: OpenStore, key: string): LeaseRow | undefined {
  const read = store.db.query<LeaseRow, [string, number]>(
    `SELECT ${COLUMNS} FROM leases WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)`,
  );
  return read.get(key, store.now()) ?? undefined;
}

/** The row of `entry`, if nobody changed its value, removed it or let it expire since it was read. */
function isCurrent(store: OpenStore, entry: RegistryEntry): LeaseRow | undefined {
  const row = readLease(store, entry.key);
  return row && row.revision === parseRevision(store, entry.revision) ? row : undefined;
}

function removeLease(store: OpenStore, key: string): void {
  store.db.query<null, [string]>("DELETE FROM leases WHERE key = ?").run(key);
  store.db
    .query<null, [number, string]>("INSERT INTO removed (revision, key) VALUES (?, ?)")
    .run(nextRevision(store), key);
}

function forgetRemoved(store: OpenStore, upTo: number): void {
  const { changes } = store.db.query<null, [number]>("DELETE FROM removed WHERE revision <= ?").run(upTo);
  if (changes > 0) store.db.query<null, [number]>("UPDATE meta SET compacted = ?").run(upTo);
}
