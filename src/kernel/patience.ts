// When to try again. Two reasons to wait, kept apart: an operation that failed (back off, 1 s … 60 s), and one that succeeded again and again because
// somebody undoes it (no fight: after five repairs of one object in a minute, back off likewise and say so).

import type { ObjectKey } from "../state/object.ts";

export interface PatienceOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Repairs of one object within the window that are taken as drift; one more is a fight. */
  readonly repairs: number;
  readonly windowMs: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

export const DEFAULT_PATIENCE: PatienceOptions = {
  firstMs: 1_000,
  maxMs: 60_000,
  repairs: 5,
  windowMs: 60_000,
  now: () => performance.now(),
};

export interface Trouble {
  readonly reason: Error;
  /** How often in a row. */
  readonly attempts: number;
  /** By the options' clock. */
  readonly retryAt: number;
  /** It succeeds and is undone, rather than fails. */
  readonly fight: boolean;
}

export class Patience {
  readonly #options: PatienceOptions;
  readonly #troubles = new Map<ObjectKey, Trouble>();
  readonly #repairs = new Map<ObjectKey, { last: number; count: number }>();

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  get troubles(): ReadonlyMap<ObjectKey, Trouble> {
    return this.#troubles;
  }

  /** Whether `key` may be tried now. */
  allows(key: ObjectKey): boolean {
    const trouble = this.#troubles.get(key);
    return !trouble || trouble.retryAt <= this.#options.now();
  }

  /** Counts a repair of drift; true when it is one too many, until nobody has undone it for the whole window. */
  repairIsFight(key: ObjectKey): boolean {
    const now = this.#options.now();
    const seen = this.#repairs.get(key);
    if (!seen || now - seen.last > this.#options.windowMs + this.#delayMs(seen.count - this.#options.repairs)) {
      if (this.#repairs.size > 100_000) this.#repairs.clear(); // bounds the memory of mass drift
      this.#repairs.set(key, { last: now, count: 1 });
      return false;
    }
    seen.last = now;
    return ++seen.count > this.#options.repairs;
  }

  /** Records a failure; `fight` when the operation succeeds and is undone. */
  trouble(key: ObjectKey, reason: Error, fight = false): Trouble {
    const repaired = (this.#repairs.get(key)?.count ?? 0) - this.#options.repairs;
    const attempts = Math.max((this.#troubles.get(key)?.attempts ?? 0) + 1, fight ? repaired : 0);
    const trouble = { reason, attempts, retryAt: this.#options.now() + this.#delayMs(attempts), fight };
    this.#troubles.set(key, trouble);
    return trouble;
  }

  #delayMs(attempts: number): number {
    return attempts < 1 ? 0 : Math.min(this.#options.maxMs, this.#options.firstMs * 2 ** (attempts - 1));
  }

  /** Forgets the trouble with `key`; returns it when there was one. */
  settle(key: ObjectKey): Trouble | undefined {
    const trouble = this.#troubles.get(key);
    if (trouble) this.#troubles.delete(key);
    return trouble;
  }

  /** Circumstances changed: everything that failed may be tried at once. */
  retryAll(): void {
    for (const [key, trouble] of this.#troubles) {
      if (!trouble.fight) this.#troubles.set(key, { ...trouble, retryAt: this.#options.now() });
    }
  }

  /** Keys whose time has come. */
  due(): ObjectKey[] {
    const now = this.#options.now();
    return [...this.#troubles].filter(([, trouble]) => trouble.retryAt <= now).map(([key]) => key);
  }

  /** Milliseconds until the next key is due; undefined when none waits. */
  nextDueMs(): number | undefined {
    if (this.#troubles.size === 0) return undefined;
    const next = Math.min(...[...this.#troubles.values()].map((trouble) => trouble.retryAt));
    return Math.max(0, next - this.#options.now());
  }
}
