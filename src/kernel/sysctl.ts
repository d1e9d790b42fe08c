// Sysctls of our devices, through /proc/sys. The kernel sends no message when somebody writes one, so they are read again now and then.

import { readFileSync, writeFileSync } from "node:fs";
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

export const PROC_SYS: SysctlFiles = {
  read: (path) => readFileSync(`/proc/sys/${path}`, "utf8"),
  write: (path, value) => writeFileSync(`/proc/sys/${path}`, value),
};

export class SysctlDriver implements Driver {
  readonly kinds: readonly ObjectKind[] = ["sysctl"];
  readonly mirror = new Mirror();
  readonly #files: SysctlFiles;
  readonly #timer: ReturnType<typeof setInterval>;
  /** Those we set, which are those we look after. */
  readonly #known = new Map<ObjectKey, Sysctl>();
  #wake: () => void = () => {};
  #inDoubt = false;

  constructor(periodMs: number, files = PROC_SYS) {
    this.#files = files;
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
        return new Error(`cannot set sysctl ${object.path}=${object.value}: ${reason(error)}`);
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

function reason(error: unknown): string {
  const errno = error instanceof Error && "errno" in error ? Math.abs(Number(error.errno)) : 0;
  return errno ? `${errnoName(errno)} (${errnoText(errno)})` : String(error);
}
