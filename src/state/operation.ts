// What the reconciler does to the kernel: one operation is one object, and one line of iproute2 (print.ts).

import { type KernelObject, KIND_ORDER, type Link, mustRecreate, type ObjectKey, sameObject } from "./object.ts";

/** What is done; what it is done to stands under `key`. */
export type Operation = Change & { readonly key: ObjectKey };

export type Change =
  | { readonly verb: "add"; readonly object: KernelObject }
  /** `actual` stands under the same key and differs; the kernel replaces it in place. */
  | { readonly verb: "change"; readonly object: KernelObject; readonly actual: KernelObject }
  /** Differs in what cannot be changed while it stands. */
  | { readonly verb: "recreate"; readonly object: Link; readonly actual: Link }
  | { readonly verb: "delete"; readonly object: KernelObject };

/** An object as the kernel has it. */
export interface Actual {
  readonly object: KernelObject;
  /** Whether it may be deleted when it is not wanted (Invariant 5); an object that is not ours is only ever replaced, under a key we want. */
  readonly ours: boolean;
}

/** The operation that brings `key` from `actual` to `desired`, or undefined when nothing is left to do. */
export function operationFor(
  key: ObjectKey,
  desired: KernelObject | undefined,
  actual: Actual | undefined,
): Operation | undefined {
  if (!desired) return actual?.ours ? { verb: "delete", key, object: actual.object } : undefined;
  if (!actual) return { verb: "add", key, object: desired };
  if (sameObject(desired, actual.object)) return undefined;
  if (desired.kind === "link" && actual.object.kind === "link" && mustRecreate(desired, actual.object)) {
    return { verb: "recreate", key, object: desired, actual: actual.object };
  }
  return { verb: "change", key, object: desired, actual: actual.object };
}

/** Whether an operation takes something away, and so waits for the first complete lease set (Invariant 1). */
export function removes(operation: Change): boolean {
  return operation.verb === "delete" || operation.verb === "recreate";
}

/** All operations from one state to another, in no order; for plans and tests. The reconciler visits only keys that changed. */
export function diff(
  desired: ReadonlyMap<ObjectKey, KernelObject>,
  actual: ReadonlyMap<ObjectKey, Actual>,
): Operation[] {
  const keys = new Set([...desired.keys(), ...actual.keys()]);
  return [...keys].map((key) => operationFor(key, desired.get(key), actual.get(key))).filter((op) => op !== undefined);
}

/** Operations in the order in which they are done: makes by KIND_ORDER, then removals the other way; a stale link first. */
export function inOrder(operations: readonly Operation[]): Operation[] {
  const rank = ({ verb, object }: Operation) => {
    const kind = KIND_ORDER.indexOf(object.kind);
    if (verb !== "delete") return kind;
    return object.kind === "link" ? -1 : 2 * KIND_ORDER.length - kind;
  };
  return operations.toSorted((a, b) => rank(a) - rank(b));
}
