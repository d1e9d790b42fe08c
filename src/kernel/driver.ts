// A driver is how one part of the kernel is read, changed and watched; the reconciler knows only this. Drivers exist for rtnetlink and for sysctls; the fake
// kernel is one too, and the same contract (test/kernel/contract.ts) holds for it and for the real ones.

import type { ObjectKey, ObjectKind } from "../state/object.ts";
import type { Operation } from "../state/operation.ts";
import type { Mirror } from "./mirror.ts";

/** Why an operation failed; undefined when it took effect (deleting what is gone has taken effect). */
export type Outcome = Error | undefined;

/**
 * The device an operation was for went away or down meanwhile: no failure of the operation, but news that the mirror had not heard. The driver has put
 * the device in doubt, and the next pass sees what there is.
 */
export class Overtaken extends Error {}

export interface Driver {
  readonly kinds: readonly ObjectKind[];
  /** What this driver's kinds look like in the kernel; apply and notifications keep it. */
  readonly mirror: Mirror;
  /** Whether something must be read again before the mirror can be believed. */
  readonly inDoubt: boolean;
  /** Reads again what is in doubt of one kind. Throws when the kernel cannot be read. */
  refresh(kind: ObjectKind): Promise<void>;
  /** Does operations of one kind, in order; one outcome each. Never throws for a single operation's sake. */
  apply(operations: readonly Operation[]): Promise<readonly Outcome[]>;
  /** Whether a key that nobody desires is waited for all the same while it does not stand: that the external interface is up. */
  awaits?(key: ObjectKey): boolean;
  /** `wake` is called whenever the mirror changed or came in doubt. */
  watch(wake: () => void): void;
  /** A link of ours is gone, and what was on it with it. */
  linkGone?(dev: string): void;
  /** What there is to tell about this part beside its objects, one line each, for people who ask. */
  readonly details?: readonly string[];
  [Symbol.dispose](): void;
}
