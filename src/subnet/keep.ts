// Holding on to a lease: renewed in time, by a clock that does not jump, and watched, so that losing it is known at
// once and not at the next renewal. A reservation is only watched.

import type { Registry, RegistryEntry } from "./registry.ts";
import type { StoreRetry } from "./store_retry.ts";
import { within } from "./within.ts";

export interface KeepContext {
  readonly registry: Registry;
  readonly retry: StoreRetry;
  readonly ttlMs: number;
  readonly renewMarginMs: number;
  /** Monotonic, in milliseconds. */
  readonly now: () => number;
  /** Whether an entry under our key is this node's. */
  readonly isOurs: (entry: RegistryEntry) => boolean;
  readonly onRenewed: (entry: RegistryEntry) => void;
}

const ACTIVITY = "keeping the lease";

/** `renewAt`: when the lease must be renewed first, by `context.now`. */
export async function keepLease(
  context: KeepContext,
  key: string,
  renewAt: number,
  signal: AbortSignal,
): Promise<"lost" | "stopped"> {
  const { registry, retry } = context;
  let due = renewAt;
  const renew = async (entry: RegistryEntry, stop: AbortSignal) => {
    const begun = context.now();
    const renewed = await registry.renew(entry, context.ttlMs, stop);
    if (renewed === "lost") return undefined;
    due = begun + context.ttlMs - context.renewMarginMs;
    context.onRenewed(renewed);
    return renewed;
  };
  while (!signal.aborted) {
    const watching = new AbortController();
    const stop = AbortSignal.any([signal, watching.signal]);
    try {
      const read = await registry.entry(key, stop);
      retry.succeeded(ACTIVITY);
      let entry = read.entry;
      if (!entry || !context.isOurs(entry)) return "lost";
      const batches = registry.watch(read.revision, stop, key)[Symbol.asyncIterator]();
      let next = batches.next();
      // It is awaited below, unless a renewal fails first.
      next.catch(() => {});
      while (entry) {
        const waitMs: number | undefined = entry.reserved ? undefined : due - context.now();
        if (waitMs !== undefined && waitMs <= 0) {
          // Not renewable under this revision: what is there now is read again, above.
          entry = await renew(entry, stop);
          continue;
        }
        const event = await within(waitMs, next);
        if (event === "due") continue;
        if (event.done) break;
        for (const change of event.value.changes) entry = change.kind === "put" ? change.entry : undefined;
        if (!entry || !context.isOurs(entry)) return "lost";
        next = batches.next();
        next.catch(() => {});
      }
    } catch (error) {
      if (signal.aborted) return "stopped";
      await retry.failed(ACTIVITY, error, signal).catch((failure: unknown) => {
        if (!signal.aborted) throw failure;
      });
    } finally {
      watching.abort();
    }
  }
  return "stopped";
}
