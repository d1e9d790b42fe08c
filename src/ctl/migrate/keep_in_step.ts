// The loop around the passes: whenever either store changes, and now and then to see what was renewed, for as long as the migration
// lasts. A store that does not answer stops it until it does; nothing is taken for removed meanwhile.

import { pause } from "../../subnet/pause.ts";
import type { Registry } from "../../subnet/registry.ts";
import { StoreError } from "../../subnet/store_error.ts";
import type { Migration, Pass } from "./migration.ts";

export interface LoopTiming {
  /** Between two scans for renewed leases; less than a node's renewal margin, an hour by default. */
  readonly scanMs: number;
  /** A burst of changes is taken as one. */
  readonly burstMs: number;
  /** Waits after a failure. */
  readonly firstRetryMs: number;
  readonly maxRetryMs: number;
}

export const LOOP_TIMING: LoopTiming = { scanMs: 300_000, burstMs: 50, firstRetryMs: 200, maxRetryMs: 5_000 };

/** Passes until leases are in step, when others keep writing. */
const MAX_PASSES = 100;

export interface LoopEvents {
  /** Leases and configuration are the same on both sides. */
  onInStep(pass: Pass): void;
  onFailing(error: StoreError): void;
  onRecovered(): void;
}

/** Passes until nothing is left to write, then the configuration. `scan` as in `pass`. Throws StoreError. */
export async function bringInStep(
  migration: Migration,
  scan: boolean,
  retryMs: number,
  signal: AbortSignal,
): Promise<Pass> {
  for (let round = 0; round < MAX_PASSES; round++) {
    const pass = await migration.pass(scan && round === 0, signal);
    if (pass.steps === 0) {
      await migration.passConfig(signal);
      return pass;
    }
    if (pass.conflicts > 0) await pause(retryMs, signal);
  }
  throw new StoreError(
    "conflict",
    "",
    "cannot bring both sides in step: others write faster; is another migration running",
  );
}

/** Ends only by the signal, and by what trying again cannot change. */
export async function keepInStep(
  migration: Migration,
  registries: readonly Registry[],
  timing: LoopTiming,
  events: LoopEvents,
  signal: AbortSignal,
): Promise<void> {
  const bell = new Bell();
  const ending = new AbortController();
  const stop = AbortSignal.any([signal, ending.signal]);
  const listening = registries.map((registry) =>
    listen(registry, bell, timing, stop).catch((error: unknown) => ending.abort(error)),
  );
  try {
    let failures = 0;
    let scanAt = performance.now();
    for (;;) {
      stop.throwIfAborted();
      try {
        const scan = performance.now() >= scanAt;
        const pass = await bringInStep(migration, scan, timing.firstRetryMs, stop);
        if (scan) scanAt = performance.now() + timing.scanMs;
        if (failures > 0) events.onRecovered();
        failures = 0;
        events.onInStep(pass);
      } catch (error) {
        stop.throwIfAborted();
        if (!(error instanceof StoreError) || !["unreachable", "compacted", "conflict"].includes(error.reason))
          throw error;
        if (failures === 0) events.onFailing(error);
        await pause(Math.min(timing.firstRetryMs * 2 ** Math.min(failures++, 20), timing.maxRetryMs), stop);
        continue;
      }
      await bell.wait(Math.max(0, scanAt - performance.now()), stop);
      await pause(timing.burstMs, stop);
      bell.hush();
    }
  } finally {
    ending.abort();
    await Promise.all(listening);
  }
}

/** Rings when leases or configuration of a store change. What it missed while a watch was broken, the ring after it makes good. */
async function listen(registry: Registry, bell: Bell, timing: LoopTiming, signal: AbortSignal): Promise<void> {
  const follow = async (kind: "leases" | "config") => {
    while (!signal.aborted) {
      try {
        const { revision } = await registry.config(signal);
        bell.ring();
        if (kind === "config") for await (const _ of registry.watchConfig(revision, signal)) bell.ring();
        else {
          for await (const { changes } of registry.watch(revision, signal)) if (changes.length > 0) bell.ring();
        }
      } catch (error) {
        if (!signal.aborted && !(error instanceof StoreError)) throw error;
      }
      if (!signal.aborted) await pause(timing.firstRetryMs, signal).catch(() => {});
    }
  };
  await Promise.all([follow("leases"), follow("config")]);
}

class Bell {
  #rung = false;
  #wake: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  hush(): void {
    this.#rung = false;
  }

  /** Until it rings, has rung since it was hushed, or `ms` have passed. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#rung) return;
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    try {
      await pause(ms, AbortSignal.any([signal, woken.signal]));
    } catch {
      signal.throwIfAborted();
    } finally {
      this.#wake = undefined;
    }
  }
}
