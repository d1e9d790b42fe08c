// A driver is how one part of the kernel is read, changed and watched; the reconciler knows only this. Drivers exist for rtnetlink and for sysctls; the fake
// kernel is one too, and the same contract (test/kernel/contract.ts) holds for it and for the real ones.

import type { ObjectKind } from "../state/object.ts";
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
  /** A link of ours is gone, and with it what this driver had on it. */
  linkGone?(dev: string): void;
  /** `wake` is called whenever the mirror changed or came in doubt. */
  watch(wake: () => void): void;
  [Symbol.dispose](): void;
}
