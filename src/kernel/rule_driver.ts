// The driver of firewall rules, for nftables (nftables.ts) and iptables (iptables.ts) alike. Rules are read and written by programs, which take milliseconds
// and sometimes wait for a lock; so they are read in the background, and a pass over routes waits for that only at the start.

import type { FoundRules, RuleSet, RuleTool } from "../firewall/rule.ts";
import type { Family } from "../ip/family.ts";
import { type ObjectKind, objectKey } from "../state/object.ts";
import { type Operation, operationFor } from "../state/operation.ts";
import type { Driver, Outcome } from "./driver.ts";
import { Mirror } from "./mirror.ts";

/** How the rules of one tool are read, changed and watched. */
export interface RuleAccess extends Disposable {
  readonly tool: RuleTool;
  /** What is ours, one entry per family. */
  list(): Promise<readonly FoundRules[]>;
  /** Brings one family from what was found to `desired`, in one step. */
  write(desired: RuleSet | undefined, found: FoundRules): Promise<void>;
  /** `changed` is called when the kernel tells that rules of ours may have changed. */
  watch(changed: () => void): void;
  /** Whether the kernel tells of every change; known once rules were listed. */
  readonly tellsChanges: boolean;
}

export interface RuleDriverOptions {
  /** "now": the first pass waits for the first look. A number of milliseconds: rules that only may have to go can wait. */
  readonly firstLook: "now" | number;
  /** How often to look where the kernel tells nothing, and the most often where it tells; undefined: whenever it tells. */
  readonly periodMs?: number | undefined;
}

/** What is told while we change something is mostly our own change: looking at it can wait until the start, which waits for the change, is over. */
const ECHO_MS = 100;

export class RuleDriver implements Driver {
  readonly kinds: readonly ObjectKind[];
  readonly mirror = new Mirror();
  readonly #access: RuleAccess;
  readonly #found = new Map<Family, FoundRules>();
  readonly #timers: ReturnType<typeof setTimeout>[] = [];
  #echo: ReturnType<typeof setTimeout> | undefined;
  #first: Promise<readonly FoundRules[]> | undefined;
  #looking = false;
  #writing = false;
  /** Since the last tick of the period. */
  #lookedLately = false;
  /** The kernel has told of a change since the last look. */
  #stale = false;
  /** Somebody asked for a look that could not be had yet. */
  #again = false;
  /** Counts our own changes: a look that one of them overtook is not believed. */
  #writes = 0;
  #disposed = false;
  #wake: () => void = () => {};

  constructor(access: RuleAccess, { firstLook, periodMs }: RuleDriverOptions) {
    this.#access = access;
    this.kinds = [access.tool];
    if (firstLook === "now") {
      access.watch(() => this.#told(periodMs)); // before the look: what changes in between is seen twice rather than never
      this.#first = access.list();
      this.#first.catch(() => {}); // told when it is waited for
      this.#lookedLately = true;
    } else this.#timers.push(setTimeout(() => this.#look(), firstLook));
    if (periodMs !== undefined) this.#timers.push(setInterval(() => this.#tick(), periodMs));
    for (const timer of this.#timers) timer.unref();
  }

  get inDoubt(): boolean {
    return this.#first !== undefined;
  }

  /** What follows upstream's names in the kernel; another flannel on this host may have those. */
  suffix(family: Family): string {
    return this.#found.get(family)?.suffix ?? "";
  }

  watch(wake: () => void): void {
    this.#wake = wake;
  }

  /** Rules that cannot be read are no reason to leave routes as they are: apply reads again, and its outcome tells why not. */
  async refresh(): Promise<void> {
    const first = this.#first;
    if (!first) return;
    try {
      this.#take(await first);
    } catch {
      // as said
    }
    this.#first = undefined;
  }

  async apply(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    this.#writes++;
    this.#writing = true;
    const outcomes = await Promise.all(operations.map((operation) => this.#applyOne(operation)));
    this.#writing = false;
    if (this.#again) this.#echo = setTimeout(() => this.#look(), ECHO_MS).unref();
    return outcomes;
  }

  async #applyOne({ key, verb, object }: Operation): Promise<Outcome> {
    const { family } = object as RuleSet;
    const desired = verb === "delete" ? undefined : (object as RuleSet);
    try {
      // Somebody may change rules between our look and our change, which is then refused: once more with what stands by then.
      for (let attempt = 1; ; attempt++) {
        const found = this.#found.get(family) ?? (await this.#readOne(family));
        if (!operationFor(key, desired, found.set && { object: found.set, ours: true })) break;
        try {
          await this.#access.write(desired, found);
          this.#found.set(family, { ...found, set: desired });
          break;
        } catch (error) {
          this.#found.delete(family);
          if (attempt === 2) throw error;
        }
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return new Error(`cannot ${verb} the ${this.#access.tool} rules of ${family}: ${reason}`);
    }
    this.mirror.confirm(key, desired);
    return undefined;
  }

  async #readOne(family: Family): Promise<FoundRules> {
    const found = (await this.#access.list()).find((each) => each.family === family);
    if (!found) throw new Error(`${family} is not looked after`);
    this.#found.set(family, found);
    return found;
  }

  /** On a node whose every program changes rules all the time, looking at each change would be all that is done. */
  #told(periodMs: number | undefined): void {
    if (periodMs === undefined || !this.#lookedLately) this.#look();
    else this.#stale = true;
  }

  #tick(): void {
    this.#lookedLately = false;
    if (this.#stale || !this.#access.tellsChanges) this.#look();
  }

  #look(): void {
    if (this.#disposed) return;
    this.#again = this.#looking || this.#writing;
    if (this.#again) return;
    this.#looking = true;
    this.#lookedLately = true;
    this.#stale = false;
    const writes = this.#writes;
    this.#access
      .list()
      .then((found) => {
        if (writes === this.#writes) this.#take(found);
        else this.#again = true;
      })
      .catch(() => {}) // the next look or change tells
      .finally(() => {
        this.#looking = false;
        if (this.#again && !this.#writing) this.#look();
      });
  }

  #take(all: readonly FoundRules[]): void {
    if (this.#disposed) return;
    for (const found of all) {
      this.#found.set(found.family, found);
      if (found.set) this.mirror.see(found.set, true);
      else this.mirror.lose(this.#access.tool, objectKey.rules(this.#access.tool, found.family));
    }
    if (this.mirror.hasChanged) this.#wake();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const timer of [...this.#timers, this.#echo]) clearTimeout(timer);
    this.#access[Symbol.dispose]();
  }
}
