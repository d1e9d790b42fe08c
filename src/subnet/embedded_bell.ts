// Tells watchers that a store's file may have changed, without polling: each commit writes to the database or its
// journal, and inotify reports that from any process. It may report the write before the commit is visible to
// readers, so each report is followed by a few more rings. A slow look at the files' times stays as a net, for file
// systems without inotify (NFS, 9p) and for a directory that was itself replaced.

import { type BigIntStats, type FSWatcher, statSync, watch } from "node:fs";
import { basename, dirname } from "node:path";

/**
 * Rings after a report, in milliseconds since the one before. Measured: the report mostly arrives some 0.1 ms before
 * readers can see the commit, and as much earlier as an fsync takes when the write is a durable one.
 */
const ECHOES_MS = [1, 3, 10, 25];
const LOOK_MS = 1000;

/** Calls `changed` with the name of each file that changes in `directory`; inotify(7) unless a test has none. */
type Notify = (directory: string, changed: (name: string | null) => void) => FSWatcher;

const inotify: Notify = (directory, changed) => watch(directory, (_event, name) => changed(name));

export class StoreBell implements Disposable {
  readonly #path: string;
  readonly #notify: Notify;
  readonly #directory: string;
  readonly #names: ReadonlySet<string>;
  readonly #listeners = new Set<BellListener>();
  #watcher: FSWatcher | undefined;
  #watched = "";
  #looked = "";
  #looking: ReturnType<typeof setInterval> | undefined;
  #echo: ReturnType<typeof setTimeout> | undefined;

  constructor(path: string, notify: Notify = inotify) {
    this.#path = path;
    this.#notify = notify;
    this.#directory = dirname(path);
    const name = basename(path);
    this.#names = new Set([name, `${name}-wal`, `${name}-journal`]);
  }

  /** Rung once to begin with. The file is watched as long as there is a listener. */
  listen(): BellListener {
    const listener = new BellListener((gone) => {
      this.#listeners.delete(gone);
      if (this.#listeners.size === 0) this[Symbol.dispose]();
    });
    this.#listeners.add(listener);
    if (!this.#looking) {
      this.#attach();
      this.#looking = setInterval(() => this.#look(), LOOK_MS);
    }
    return listener;
  }

  ring(): void {
    for (const listener of this.#listeners) listener.ring();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#looking);
    clearTimeout(this.#echo);
    this.#looking = undefined;
    this.#detach();
    for (const listener of this.#listeners) listener.ring();
  }

  #look(): void {
    this.#attach();
    const seen = `${state(this.#path)} ${state(`${this.#path}-wal`)}`;
    if (seen !== this.#looked) this.ring();
    this.#looked = seen;
  }

  #attach(): void {
    const directory = inode(this.#directory);
    if (this.#watcher && directory === this.#watched) return;
    this.#detach();
    try {
      this.#watcher = this.#notify(this.#directory, (name) => {
        if (name !== null && this.#names.has(name)) this.#report();
      });
      this.#watched = directory;
      this.#watcher.on("error", () => this.#detach());
    } catch {
      // No inotify to be had now: looking goes on, and tries again.
    }
  }

  #detach(): void {
    const watcher = this.#watcher;
    this.#watcher = undefined;
    watcher?.close();
  }

  #report(): void {
    this.ring();
    clearTimeout(this.#echo);
    const echo = (index: number) => {
      const delay = ECHOES_MS[index];
      if (delay === undefined) return;
      this.#echo = setTimeout(() => {
        this.ring();
        echo(index + 1);
      }, delay);
    };
    echo(0);
  }
}

/** Which file a path names; "" for none, and for one that cannot be told (reading it will say why). */
function inode(path: string): string {
  const found = stat(path);
  return found ? `${found.dev}:${found.ino}` : "";
}

/** What changes with every write to a file, and when another takes its place. */
function state(path: string): string {
  const found = stat(path);
  return found ? `${found.dev}:${found.ino}:${found.size}:${found.mtimeNs}` : "";
}

function stat(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false, bigint: true });
  } catch {
    return undefined;
  }
}

export class BellListener implements Disposable {
  readonly #leave: (listener: BellListener) => void;
  #rung = true;
  #wake: (() => void) | undefined;

  constructor(leave: (listener: BellListener) => void) {
    this.#leave = leave;
  }

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Resolves when the bell rings (or rang since the last wait), when `timeoutMs` are over, or when `signal` aborts. */
  wait(timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#rung = false;
        this.#wake = undefined;
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      // setTimeout takes at most 2^31 − 1 ms (24.8 days) and fires at once beyond.
      const timer = setTimeout(done, Math.min(timeoutMs, 2 ** 31 - 1));
      if (this.#rung || signal.aborted) return done();
      this.#wake = done;
      signal.addEventListener("abort", done);
    });
  }

  [Symbol.dispose](): void {
    this.#leave(this);
  }
}
