// What the reconciler did, in log lines: a change of state once, never its repetition, in the words of the command that would do the same.

import type { ReconcileEvent } from "../kernel/reconciler.ts";
import { isRuleSet } from "../state/object.ts";
import type { Operation } from "../state/operation.ts";
import { printObject, printOperation } from "../state/print.ts";
import type { Log } from "./log.ts";

/** Commands of a mass repair that are shown; the rest are counted. */
const SHOWN = 4;

export function reportReconcile(log: Log, event: ReconcileEvent): void {
  switch (event.kind) {
    case "repaired": {
      const shown = event.operations.slice(0, SHOWN).map((operation) => `repaired: ${commandOf(operation)}`);
      const more = event.operations.length - SHOWN;
      log.warn([...shown, ...(more > 0 ? [`repaired: and ${more} more`] : [])].join("\n"));
      return;
    }
    case "failed": {
      const { reason, fight } = event.trouble;
      const what = fight
        ? `${commandOf(event.operation)}: ${reason.message}; trying less often`
        : `${reason.message}; trying again`;
      log.error(what);
      return;
    }
    case "recovered":
      log.info(`recovered after ${event.trouble.attempts} failed attempts: ${event.key}`);
      return;
    case "unreadable":
      log.error(`cannot read the kernel's state: ${event.reason.message}; trying again`);
      return;
  }
}

function commandOf(operation: Operation): string {
  const { object, verb } = operation;
  // A rule set is a dozen commands; which ones, `flannelctl plan --all` shows.
  if (isRuleSet(object)) return `${verb} the ${printObject(object)}`;
  const command = printOperation(operation);
  return command === "" ? `${verb} ${object.kind}` : command.replaceAll("\n", "; ");
}

/** Whoever writes a lease can make it wrong in ever new ways: of one lease, a new reason is said once a minute at most. */
const NEW_REASON_MS = 60_000;

/** Logs each refused lease once, and again when the reason has changed. */
export class RefusalLog {
  readonly #log: Log;
  /** Monotonic milliseconds. */
  readonly #now: () => number;
  readonly #told = new Map<string, { readonly reason: string; readonly at: number }>();

  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  /** All that is refused now. */
  update(refused: ReadonlyMap<string, string>): void {
    const now = this.#now();
    for (const [key, reason] of refused) {
      const told = this.#told.get(key);
      if (told && (told.reason === reason || now - told.at < NEW_REASON_MS)) continue;
      this.#log.warn(`refusing the lease ${key}: ${reason}`);
      this.#told.set(key, { reason, at: now });
    }
    for (const key of this.#told.keys()) {
      if (refused.has(key)) continue;
      this.#log.info(`the lease ${key} is refused no more`);
      this.#told.delete(key);
    }
  }
}
