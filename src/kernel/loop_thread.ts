// The thread of a packet loop as seen from outside: whether it still turns, and its end where it no longer does what it is told.

import { threadState } from "../sys/thread.ts";

/** Looks at a count that does not move before its thread is said to hang. */
export const LOOKS = 5;
const POLL_MS = 10;

/**
 * Looks now and then at the turns that a thread counts in shared memory. Looks are counted and not time: a process that was stopped and goes on, or a machine that
 * slept, is no thread that hangs.
 */
export class Pulse {
  readonly #turns: () => number;
  #last: number;
  #same = 0;

  constructor(turns: () => number) {
    this.#turns = turns;
    this.#last = turns();
  }

  /** One more look; whether the thread hangs. */
  look(): boolean {
    const turns = this.#turns();
    this.#same = turns === this.#last ? this.#same + 1 : 0;
    this.#last = turns;
    return this.#same >= LOOKS;
  }
}

/** Runs, or sleeps so that a signal wakes it. */
const HEARS = ["R", "S"];

/**
 * Ends the thread `id` of `worker` wherever it is; false if it is still there after `limitMs`. One that no signal reaches (it waits for a device in the kernel, or is
 * stopped) is not even told: the runtime would wait for it and stand still itself. The worker's own event comes before its thread has ended.
 */
export async function endThread(worker: Pick<Worker, "terminate">, id: number, limitMs: number): Promise<boolean> {
  let told = false;
  for (const end = performance.now() + limitMs; ; await Bun.sleep(POLL_MS)) {
    const state = threadState(id);
    if (state === undefined) return true;
    if (!told && HEARS.includes(state)) {
      worker.terminate();
      told = true;
    }
    if (performance.now() > end) return false;
  }
}
