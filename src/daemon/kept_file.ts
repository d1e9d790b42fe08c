// subnet.env as long as the lease lasts: written once, and again when somebody removes or changes it. Pods cannot start without it.

import { type FSWatcher, readFileSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { writeFileAtomically } from "./atomic_file.ts";
import type { Log } from "./log.ts";

/** For file systems without notifications, and for when the directory itself was removed. */
const PERIOD_MS = 5_000;
/** Changes within the window that are undone; who makes more of them has the file. */
const REPAIRS = 5;
const WINDOW_MS = 60_000;

export class KeptFile implements Disposable {
  readonly #path: string;
  readonly #text: string;
  readonly #log: Log;
  readonly #timer: ReturnType<typeof setInterval>;
  #watcher: FSWatcher | undefined;
  #repairs: number[] = [];
  #givenUp = false;

  /** Throws when it cannot be written. */
  constructor(path: string, text: string, log: Log) {
    this.#path = path;
    this.#text = text;
    this.#log = log;
    if (this.#read() !== text) writeFileAtomically(path, text, 0o644);
    this.#listen();
    this.#timer = setInterval(() => this.#look(), PERIOD_MS);
  }

  #listen(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    try {
      const name = basename(this.#path);
      const watcher = watch(dirname(this.#path), (_, changed) => {
        if (changed === name) this.#look();
      });
      watcher.on("error", () => watcher.close());
      this.#watcher = watcher;
    } catch {
      // no inotify left for us: the timer looks
    }
  }

  #look(): void {
    const found = this.#read();
    if (found === this.#text) {
      this.#givenUp = false;
      return;
    }
    const now = performance.now();
    this.#repairs = this.#repairs.filter((at) => now - at < WINDOW_MS);
    if (this.#repairs.length >= REPAIRS) {
      if (!this.#givenUp)
        this.#log.error(`${this.#path} is changed by somebody else again and again; leaving it alone for a while`);
      this.#givenUp = true;
      return;
    }
    this.#repairs.push(now);
    this.#log.warn(`${this.#path} was ${found === undefined ? "removed" : "changed"}; writing it again`);
    try {
      writeFileAtomically(this.#path, this.#text, 0o644);
      this.#listen(); // the directory may be a new one
    } catch (error) {
      this.#log.error(error instanceof Error ? error.message : String(error));
    }
  }

  #read(): string | undefined {
    try {
      return readFileSync(this.#path, "utf8");
    } catch {
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#watcher?.close();
  }
}
