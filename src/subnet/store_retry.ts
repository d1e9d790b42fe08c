// Trying again when a store does not answer: backoff with jitter, and one message when it stops answering and one
// when it does again, however many activities (reading, watching, renewing) notice it.

import { pause } from "./pause.ts";
import { StoreError, type StoreReason } from "./store_error.ts";

export type SubnetEvent =
  /** The store stopped answering, or fails in another way than before; what was read before stays valid. */
  | { readonly kind: "store failing"; readonly error: StoreError }
  /** The store is not what it was: so many leases are missing, and stay in force for a while. */
  | { readonly kind: "data lost"; readonly missing: number; readonly graceMs: number }
  /** Their time is over: these were not written again. */
  | { readonly kind: "given up"; readonly keys: readonly string[] }
  /** It answers again, after so many failed tries. */
  | { readonly kind: "store recovered"; readonly failures: number }
  /** Another node took the subnet first; another one is chosen. */
  | { readonly kind: "contended"; readonly key: string }
  /** A lease of this node that no longer fits the configuration; a reservation is an operator's and stays. */
  | { readonly kind: "unfit lease"; readonly key: string; readonly removed: boolean }
  | { readonly kind: "renewed"; readonly key: string }
  /** Something must come from elsewhere first; told again when the reason changes. */
  | { readonly kind: "waiting"; readonly reason: string }
  /** Somebody had changed what this node says of itself; it has been written again. */
  | { readonly kind: "restored"; readonly what: string };

export interface RetryDelays {
  readonly firstMs: number;
  readonly maxMs: number;
  /** In place of maxMs where the store answers and refuses: it is there, and asking costs it something. */
  readonly refusedMaxMs?: number;
}

interface Failing {
  readonly count: number;
  readonly reason: StoreReason;
}

export class StoreRetry {
  readonly #delays: RetryDelays;
  readonly #random: () => number;
  readonly #onEvent: (event: SubnetEvent) => void;
  /** Failed tries in a row, by activity; empty when all is well. */
  readonly #failing = new Map<string, Failing>();
  #failures = 0;
  #told: StoreReason | undefined;

  constructor(delays: RetryDelays, random: () => number, onEvent: (event: SubnetEvent) => void) {
    this.#delays = delays;
    this.#random = random;
    this.#onEvent = onEvent;
  }

  succeeded(activity: string): void {
    if (!this.#failing.delete(activity) || this.#failing.size > 0) return;
    this.#onEvent({ kind: "store recovered", failures: this.#failures });
    this.#failures = 0;
    this.#told = undefined;
  }

  /** Notes a failure and waits until the next try. What is no StoreError is thrown on: trying again would not help. */
  async failed(activity: string, error: unknown, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!(error instanceof StoreError)) throw error;
    const { firstMs, maxMs, refusedMaxMs = maxMs } = this.#delays;
    // To be too far behind is no failure. The wait is for a store that would say so for ever.
    if (error.reason === "compacted") return await pause(firstMs * (0.5 + this.#random()), signal);
    if (this.#told !== error.reason) this.#onEvent({ kind: "store failing", error });
    this.#told = error.reason;
    const { reason, retryAfterMs } = error;
    const last = this.#failing.get(activity);
    const before = last?.reason === reason ? last.count : 0;
    this.#failing.set(activity, { count: before + 1, reason });
    this.#failures++;
    const most = reason === "unreachable" ? maxMs : refusedMaxMs;
    const delayMs = Math.min(firstMs * 2 ** Math.min(before, 30), most) * (0.5 + this.#random());
    await pause(retryAfterMs + delayMs, signal);
  }

  /** Calls until it succeeds; throws what another try will not change. */
  async persist<T>(
    activity: string,
    hopeless: readonly StoreReason[],
    call: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    for (;;) {
      try {
        const result = await call();
        this.succeeded(activity);
        return result;
      } catch (error) {
        if (error instanceof StoreError && hopeless.includes(error.reason)) throw error;
        await this.failed(activity, error, signal);
      }
    }
  }
}
