// Brings the kernel to the desired state and keeps it there. First start, restart, a changed lease, drift and a lost notification are one code path: keys that
// may differ are looked at in the order of KIND_ORDER, and what differs becomes one operation each.
//
// Invariants held here (ARCHITECTURE.md): nothing is removed before one complete lease set was seen; makes go in order, removals in reverse; a failing
// object stops only what depends on it; no fight with somebody who undoes our work.

import {
  dependencyOf,
  type KernelObject,
  KIND_ORDER,
  kindOf,
  type ObjectKey,
  type ObjectKind,
} from "../state/object.ts";
import { inOrder, type Operation, operationFor, removes } from "../state/operation.ts";
import { type Driver, Overtaken } from "./driver.ts";
import { DEFAULT_PATIENCE, Patience, type PatienceOptions, type Trouble } from "./patience.ts";

export type ReconcileEvent =
  /** Drift: the kernel had changed under us; one event for all operations of a pass. */
  | { readonly kind: "repaired"; readonly operations: readonly Operation[] }
  /** First failure of an operation, or the first after it was settled. */
  | { readonly kind: "failed"; readonly key: ObjectKey; readonly operation: Operation; readonly trouble: Trouble }
  | { readonly kind: "recovered"; readonly key: ObjectKey; readonly trouble: Trouble }
  /** The kernel could not be read. */
  | { readonly kind: "unreadable"; readonly reason: Error };

export interface ReconcilerOptions {
  readonly patience?: PatienceOptions;
  readonly report: (event: ReconcileEvent) => void;
}

export class Reconciler {
  readonly #drivers: readonly Driver[];
  readonly #report: (event: ReconcileEvent) => void;
  readonly #patience: Patience;
  readonly #readRetryMs: number;
  /** Keys to look at because the desired state changed or their time came. */
  readonly #queue = new Map<ObjectKind, Set<ObjectKey>>();
  /** Dependency → keys that wait for it. */
  readonly #waiting = new Map<ObjectKey, Set<ObjectKey>>();
  #desired: ReadonlyMap<ObjectKey, KernelObject> = new Map();
  #complete = false;
  /** A pass takes what it works on out of the queue. */
  #passing = false;
  #held = new Set<ObjectKey>();
  #repaired: Operation[] = [];
  /** Keys whose object in the kernel changed before this pass. */
  readonly #shaken = new Set<ObjectKey>();
  #wake: () => void = () => {};
  #idle: (() => void)[] = [];
  #awaited: { readonly keys: Set<ObjectKey>; resolve(trouble: Trouble | undefined): void }[] = [];

  constructor(drivers: readonly Driver[], options: ReconcilerOptions) {
    this.#drivers = drivers;
    this.#report = options.report;
    const patience = options.patience ?? DEFAULT_PATIENCE;
    this.#patience = new Patience(patience);
    this.#readRetryMs = patience.firstMs;
    for (const driver of drivers) driver.watch(() => this.#wake());
  }

  /** What fails or is fought over, by key. */
  get troubles(): ReadonlyMap<ObjectKey, Trouble> {
    return this.#patience.troubles;
  }

  /** Keys that wait for a failing one. */
  get blocked(): number {
    let count = 0;
    for (const keys of this.#waiting.values()) count += keys.size;
    return count;
  }

  /**
   * Sets what is wanted. `changed` names the keys that differ from the last call, or "all"; `complete` says that all peers are in it, so that what is ours
   * and not wanted may go.
   */
  desire(desired: ReadonlyMap<ObjectKey, KernelObject>, changed: Iterable<ObjectKey> | "all", complete: boolean): void {
    if (changed === "all") {
      this.#patience.retryAll();
      // The same map when only its content changed: its keys are enqueued below.
      if (desired !== this.#desired) for (const key of this.#desired.keys()) this.#enqueue(key);
      for (const key of desired.keys()) this.#enqueue(key);
      for (const driver of this.#drivers) for (const key of driver.mirror.all.keys()) this.#enqueue(key);
    } else {
      for (const key of changed) {
        this.#patience.settle(key);
        this.#enqueue(key);
      }
    }
    this.#desired = desired;
    this.#complete = complete;
    if (complete) {
      for (const key of this.#held) this.#enqueue(key);
      this.#held = new Set();
    }
    this.#wake();
  }

  /** Circumstances have changed: what failed is tried now. */
  retry(): void {
    this.#patience.retryAll();
    this.#wake();
  }

  /** Resolves when there is nothing left to do but what fails and waits for its time. */
  async settled(): Promise<void> {
    if (this.#passing || this.#hasWork()) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Resolves when all of `keys` stand as desired, or with the trouble of the first that does not come about. */
  standing(keys: Iterable<ObjectKey>): Promise<Trouble | undefined> {
    const awaited = new Set(keys);
    if (awaited.size === 0) return Promise.resolve(undefined); // a backend without a device, and no firewall rules
    for (const key of awaited) this.#enqueue(key);
    return new Promise((resolve) => {
      this.#awaited.push({ keys: awaited, resolve });
      this.#wake();
    });
  }

  /** Works until `signal` aborts; the kernel is left as it stands. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#hasWork()) {
        this.#passing = true;
        await this.#pass(signal);
        this.#passing = false;
        await nextTurn(); // what arrived meanwhile is heard before the next pass, and nobody starves
        continue;
      }
      for (const resolve of this.#idle.splice(0)) resolve();
      await this.#sleep(signal);
      for (const key of this.#patience.due()) this.#enqueue(key);
    }
  }

  #hasWork(): boolean {
    return this.#queue.size > 0 || this.#drivers.some((driver) => driver.mirror.hasChanged || driver.inDoubt);
  }

  async #pass(signal: AbortSignal): Promise<void> {
    const removals: ObjectKey[] = [];
    for (const kind of KIND_ORDER) {
      const driver = this.#driverOf(kind);
      if (!driver) continue;
      try {
        await driver.refresh(kind);
      } catch (error) {
        if (signal.aborted) return; // closed under this pass
        this.#report({ kind: "unreadable", reason: asError(error) });
        await Bun.sleep(this.#readRetryMs);
        return;
      }
      if ((await this.#apply(driver, this.#operations(driver, kind, removals))) === "overtaken") {
        for (const key of removals) this.#enqueue(key);
        return; // what comes later needs the device too: begin again at the links
      }
    }
    for (const kind of KIND_ORDER.toReversed()) {
      const driver = this.#driverOf(kind);
      const keys = removals.filter((key) => key.startsWith(`${kind} `));
      if (!driver || keys.length === 0) continue;
      const operations = keys.map((key) => operationFor(key, this.#desired.get(key), driver.mirror.get(key)));
      await this.#apply(driver, operations.filter((operation) => operation?.verb === "delete") as Operation[]);
    }
    this.#shaken.clear();
    if (this.#repaired.length > 0) this.#report({ kind: "repaired", operations: this.#repaired });
    this.#repaired = [];
  }

  /** What to do now for the keys of one kind; removals of all kinds but links wait for the end of the pass. */
  #operations(driver: Driver, kind: ObjectKind, removals: ObjectKey[]): Operation[] {
    const asked = this.#queue.get(kind) ?? new Set<ObjectKey>();
    this.#queue.delete(kind);
    const drifted = driver.mirror.takeChanged(kind);
    for (const key of drifted) this.#shaken.add(key);
    const operations: Operation[] = [];
    for (const key of drifted.size === 0 ? asked : asked.union(drifted)) {
      const operation = operationFor(key, this.#desired.get(key), driver.mirror.get(key));
      if (!operation) this.#settle(key);
      else if (removes(operation) && !this.#complete) this.#held.add(key);
      else if (this.#mayTry(key, operation, !asked.has(key))) {
        // A stale link goes first: it may hold the VNI or port that a wanted one needs.
        if (operation.verb === "delete" && kind !== "link") removals.push(key);
        else operations.push(operation);
      }
    }
    return kind === "link" ? inOrder(operations) : operations;
  }

  #mayTry(key: ObjectKey, operation: Operation, isDrift: boolean): boolean {
    if (!this.#patience.allows(key)) return false;
    const dependency = operation.verb === "delete" ? undefined : dependencyOf(operation.object);
    if (dependency && this.#isAwaited(dependency) && !this.#stands(dependency)) {
      const waiting = this.#waiting.get(dependency) ?? new Set();
      this.#waiting.set(dependency, waiting.add(key));
      return false;
    }
    if (!isDrift) return true;
    // What went with its device or nexthop was undone by nobody.
    const isConsequence = dependency !== undefined && this.#shaken.has(dependency);
    if (!isConsequence && this.#patience.repairIsFight(key)) {
      this.#fail(key, operation, new Error("somebody undoes it again and again"), true);
      return false;
    }
    this.#repaired.push(operation);
    return true;
  }

  async #apply(driver: Driver, operations: readonly Operation[]): Promise<"done" | "overtaken"> {
    if (operations.length === 0) return "done";
    let overtaken = false;
    const outcomes = await driver.apply(operations);
    for (const [i, operation] of operations.entries()) {
      const { key } = operation;
      const error = outcomes[i];
      const left = error ? undefined : operationFor(key, this.#desired.get(key), driver.mirror.get(key));
      if (error instanceof Overtaken && !this.#patience.repairIsFight(key)) {
        this.#enqueue(key);
        overtaken = true;
      } else if (error) this.#fail(key, operation, error, false);
      else if (left && (left.verb === operation.verb || this.#patience.repairIsFight(key))) {
        this.#fail(key, operation, new Error("the kernel made something else of it"), true);
      } else if (left) this.#enqueue(key);
      else this.#settle(key);
    }
    if (operations.some((operation) => operation.verb === "recreate")) this.#expectLosses();
    return overtaken ? "overtaken" : "done";
  }

  /** What a link made anew took with it was not drift. */
  #expectLosses(): void {
    for (const driver of this.#drivers) {
      for (const kind of driver.kinds) for (const key of driver.mirror.takeChanged(kind)) this.#enqueue(key);
    }
  }

  #fail(key: ObjectKey, operation: Operation, reason: Error, fight: boolean): void {
    const trouble = this.#patience.trouble(key, reason, fight);
    if (trouble.attempts === 1) this.#report({ kind: "failed", key, operation, trouble });
    this.#tellAwaiting(key, trouble);
  }

  #settle(key: ObjectKey): void {
    const trouble = this.#patience.settle(key);
    if (trouble && !trouble.fight && this.#desired.has(key)) this.#report({ kind: "recovered", key, trouble });
    this.#tellAwaiting(key, undefined);
    const waiting = this.#waiting.get(key);
    if (!waiting) return;
    this.#waiting.delete(key);
    for (const dependent of waiting) this.#enqueue(dependent);
  }

  #tellAwaiting(key: ObjectKey, trouble: Trouble | undefined): void {
    for (const awaited of this.#awaited) {
      if (!awaited.keys.delete(key) || (!trouble && awaited.keys.size > 0)) continue;
      this.#awaited = this.#awaited.filter((other) => other !== awaited);
      awaited.resolve(trouble);
    }
  }

  #isAwaited(key: ObjectKey): boolean {
    return this.#desired.has(key) || this.#driverOf(kindOf(key))?.awaits?.(key) === true;
  }

  #stands(key: ObjectKey): boolean {
    return this.#driverOf(kindOf(key))?.mirror.get(key) !== undefined;
  }

  #driverOf(kind: ObjectKind): Driver | undefined {
    return this.#drivers.find((driver) => driver.kinds.includes(kind));
  }

  #enqueue(key: ObjectKey): void {
    const kind = kindOf(key);
    const keys = this.#queue.get(kind);
    if (keys) keys.add(key);
    else this.#queue.set(kind, new Set([key]));
  }

  async #sleep(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const dueMs = this.#patience.nextDueMs();
      const timer = dueMs === undefined ? undefined : setTimeout(resolve, Math.ceil(dueMs));
      const finish = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", finish);
        this.#wake = () => {};
        resolve();
      };
      this.#wake = finish;
      signal.addEventListener("abort", finish);
      if (signal.aborted || this.#hasWork()) finish();
    });
  }
}

/** Lets the event loop deliver what waits. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
