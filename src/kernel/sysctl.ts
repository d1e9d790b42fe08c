// Sysctls of our devices, through /proc/sys. The kernel sends no message when somebody writes one, so they are read again now and then. In a container that is
// not privileged /proc/sys is read-only (OCI runtime specification, readonlyPaths): then the host's, where it is mounted.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type KernelObject, type ObjectKey, type ObjectKind, objectKey, type Sysctl } from "../state/object.ts";
import type { Operation } from "../state/operation.ts";
import { errnoName, errnoText } from "../sys/error.ts";
import type { Driver, Outcome } from "./driver.ts";
import { Mirror } from "./mirror.ts";

/** How /proc/sys is reached; a test reaches that of another network namespace. */
export interface SysctlFiles {
  read(path: string): string;
  write(path: string, value: string): void;
}

/** Where a container may have the host's /proc/sys/net. What is read or written there is of the network namespace of who does it, so a pod of the host's network sees the same. */
export const HOST_PROC_SYS = "/host/proc/sys";

export const PROC_SYS: SysctlFiles = procSys("/proc/sys", HOST_PROC_SYS);

/** `second` is written to when `first` is read-only. */
export function procSys(first: string, second: string): SysctlFiles {
  return {
    read: (path) => readFileSync(join(first, path), "utf8"),
    write(path, value) {
      try {
        writeFileSync(join(first, path), value);
      } catch (error) {
        if (!isReadOnly(error)) throw error;
        try {
          writeFileSync(join(second, path), value);
        } catch {
          throw error;
        }
      }
    },
  };
}

export class SysctlDriver implements Driver {
  readonly kinds: readonly ObjectKind[] = ["sysctl"];
  readonly mirror = new Mirror();
  readonly #files: SysctlFiles;
  readonly #timer: ReturnType<typeof setInterval>;
  /** Those we set, which are those we look after. */
  readonly #known = new Map<ObjectKey, Sysctl>();
  /** Those that nobody here can set. They are done without, since no network fails for want of them, and not looked after. */
  readonly #readOnly = new Set<ObjectKey>();
  readonly #onReadOnly: (words: string) => void;
  #wake: () => void = () => {};
  #inDoubt = false;

  /** `onReadOnly` hears once of each sysctl that cannot be set because it is read-only here. */
  constructor(periodMs: number, files = PROC_SYS, onReadOnly: (words: string) => void = () => {}) {
    this.#files = files;
    this.#onReadOnly = onReadOnly;
    this.#timer = setInterval(() => this.#look(), periodMs);
    this.#timer.unref();
  }

  get inDoubt(): boolean {
    return this.#inDoubt;
  }

  watch(wake: () => void): void {
    this.#wake = wake;
  }

  /** The device's sysctls are gone with it. */
  linkGone(dev: string): void {
    this.mirror.loseWhere(["sysctl"], (object) => object.kind === "sysctl" && object.dev === dev);
    this.#wake();
  }

  /** Looks after these from now on, and not only after those it has set. */
  lookAfter(objects: Iterable<KernelObject>): void {
    for (const object of objects) if (object.kind === "sysctl") this.#known.set(objectKey.sysctl(object.path), object);
    this.#inDoubt = true;
  }

  async refresh(): Promise<void> {
    this.#inDoubt = false;
    for (const [key, sysctl] of this.#known) {
      if (this.#readOnly.has(key)) continue;
      const value = this.#read(sysctl.path);
      if (value === undefined) this.mirror.lose("sysctl", key);
      else this.mirror.see({ ...sysctl, value }, false);
    }
  }

  async apply(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    return operations.map(({ object, verb }) => {
      if (object.kind !== "sysctl") return new Error(`sysctl driver got a ${object.kind}`);
      if (verb === "delete") return undefined;
      const key = objectKey.sysctl(object.path);
      try {
        if (this.#read(object.path) !== object.value) this.#files.write(object.path, object.value);
      } catch (error) {
        const words = `cannot set sysctl ${object.path}=${object.value}: ${reason(error)}`;
        if (!isReadOnly(error)) return new Error(words);
        if (!this.#readOnly.has(key)) this.#onReadOnly(words);
        this.#readOnly.add(key);
      }
      this.#known.set(key, object);
      this.mirror.confirm(key, object, false);
      return undefined;
    });
  }

  #look(): void {
    if (this.#known.size === 0) return;
    this.#inDoubt = true;
    this.#wake();
  }

  #read(path: string): string | undefined {
    try {
      return this.#files.read(path).trim();
    } catch {
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

function isReadOnly(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EROFS";
}

function reason(error: unknown): string {
  const errno = error instanceof Error && "errno" in error ? Math.abs(Number(error.errno)) : 0;
  return errno ? `${errnoName(errno)} (${errnoText(errno)})` : String(error);
}
