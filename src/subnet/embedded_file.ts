// The open database of an embedded store, and the two ways to use it: `read` and `write`, each one transaction. Holds
// what can happen to a file: another process has it locked (tried again without blocking this one), it was deleted or
// replaced (noticed by its inode, opened again), it is damaged.

import { Database } from "bun:sqlite";
import { closeSync, existsSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { type MachineClock, readClock, storeClock } from "./embedded_clock.ts";
import { isLocked, storeErrorOf } from "./embedded_error.ts";
import { prepareSchema } from "./embedded_schema.ts";
import { pause } from "./pause.ts";
import { StoreError } from "./store_error.ts";

/**
 * How long SQLite itself waits for a lock, which blocks the process: short. The rest of the waiting is asynchronous.
 */
const BUSY_TIMEOUT_MS = 5;

export interface OpenStore {
  readonly db: Database;
  /** Which store this is: random text made with the file. */
  readonly id: string;
  /** Milliseconds since the epoch by the store's clock. */
  now(): number;
}

export interface StoreFileOptions {
  readonly clock: MachineClock;
  /** How long to wait for a lock that another process holds before the store counts as unreachable. */
  readonly lockWaitMs: number;
  readonly random: () => number;
}

export class StoreFile implements Disposable {
  readonly path: string;
  readonly endpoint: string;
  readonly #options: StoreFileOptions;
  #open: (OpenStore & { readonly inode: string }) | undefined;
  #disposed = false;

  private constructor(path: string, options: StoreFileOptions) {
    this.path = path;
    this.endpoint = `embedded store ${path}`;
    this.#options = options;
  }

  /** Opens the file and makes it, and its directory, when missing. */
  static async open(path: string, options: StoreFileOptions, signal: AbortSignal): Promise<StoreFile> {
    const file = new StoreFile(path, options);
    try {
      if (!existsSync(dirname(path))) mkdirSync(dirname(path), { mode: 0o755 });
      // Readable by the owner alone: a network configuration may hold a pre-shared key. SQLite gives its journal the
      // same mode.
      closeSync(openSync(path, "a", 0o600));
    } catch (error) {
      throw storeErrorOf(error, "open", path, file.endpoint);
    }
    await file.read(() => undefined, signal);
    return file;
  }

  /** Runs `query` on one unchanging state of the database. */
  read<T>(query: (store: OpenStore) => T, signal: AbortSignal): Promise<T> {
    return this.#retry(
      "read",
      () => {
        const store = this.#current();
        return store.db.transaction(() => query(store))();
      },
      signal,
    );
  }

  /**
   * Runs `change` alone. `durable`: it has survived a power cut once this resolves; otherwise it may be lost, and
   * nothing else with it.
   */
  write<T>(change: (store: OpenStore) => T, durable: boolean, signal: AbortSignal): Promise<T> {
    return this.#retry(
      "write",
      () => {
        const store = this.#current();
        store.db.run(`PRAGMA synchronous = ${durable ? "FULL" : "NORMAL"}`);
        return store.db.transaction(() => change(store)).immediate();
      },
      signal,
    );
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#close();
  }

  async #retry<T>(verb: "read" | "write", attempt: () => T, signal: AbortSignal): Promise<T> {
    const { lockWaitMs, random } = this.#options;
    const begun = performance.now();
    for (let waitMs = 2; ; waitMs = Math.min(2 * waitMs, 50)) {
      signal.throwIfAborted();
      try {
        return attempt();
      } catch (error) {
        if (!isLocked(error)) {
          // A connection that failed is not trusted again: the next use opens the file anew.
          this.#close();
          throw storeErrorOf(error, verb, this.path, this.endpoint);
        }
        if (performance.now() - begun > lockWaitMs) {
          throw new StoreError(
            "unreachable",
            this.endpoint,
            `cannot ${verb} store ${this.path}: another process has held its lock for ${lockWaitMs / 1000} s; ` +
              `find it with "fuser -v ${this.path}"`,
            { cause: error },
          );
        }
      }
      await pause(waitMs * (0.5 + random()), signal);
    }
  }

  #current(): OpenStore {
    if (this.#disposed)
      throw new StoreError("unreachable", this.endpoint, `cannot use store ${this.path}: it is closed`);
    // The inode is not used again for another file while we hold it open.
    const found = statSync(this.path, { throwIfNoEntry: false, bigint: true });
    const inode = `${found?.dev}:${found?.ino}`;
    if (found && this.#open?.inode === inode) return this.#open;
    this.#close();
    if (!found) {
      throw new StoreError(
        "unreachable",
        this.endpoint,
        `cannot use store ${this.path}: the file was deleted; put it back, or start flanneld again for an empty one`,
      );
    }
    const db = new Database(this.path, { readwrite: true, strict: true });
    try {
      db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
      prepareSchema(db, this.path, this.endpoint);
      const { clock } = this.#options;
      const now = readClock(db, clock) ?? db.transaction(() => storeClock(db, clock)).immediate();
      const id = db.query<{ store: string }, []>("SELECT store FROM meta").get()?.store ?? "";
      this.#open = { db, id, now, inode };
      return this.#open;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  #close(): void {
    const open = this.#open;
    this.#open = undefined;
    open?.db.close();
  }
}
