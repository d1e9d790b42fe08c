// One run of flannelctl: where it writes, and how its work is interrupted. Subcommands get this and nothing global.

import type { Input } from "./input.ts";
import type { Terminal } from "./terminal.ts";

/** Where a run writes. */
export interface Outputs {
  /** Results. */
  readonly out: Terminal;
  /** Faults; and progress, where results are for a program to read. */
  readonly err: Terminal;
}

export interface Session extends Outputs {
  readonly input: Input;
  /**
   * Runs a subcommand's work and keeps its exit code. `signal` aborts at the first Ctrl-C (SIGINT), SIGTERM or
   * SIGHUP; the work then clears away what it made and throws the signal's reason.
   */
  run(work: (signal: AbortSignal) => Promise<number>): Promise<void>;
}

/** Told to stop; not a fault. */
export class Interrupted extends Error {
  /** As shells report it: 128 and the signal's number. */
  readonly exitCode: number;

  constructor(name: keyof typeof SIGNALS) {
    super(`interrupted by ${name}`);
    this.name = "Interrupted";
    this.exitCode = 128 + SIGNALS[name];
  }
}

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Runs `work` with a signal that the first of SIGNALS aborts. Later ones are ignored: what clears up must not be cut
 * off half-way.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const names = Object.keys(SIGNALS) as (keyof typeof SIGNALS)[];
  const listeners = names.map((name) => {
    const listener = () => controller.abort(new Interrupted(name));
    process.on(name, listener);
    return [name, listener] as const;
  });
  try {
    return await work(controller.signal);
  } finally {
    for (const [name, listener] of listeners) process.off(name, listener);
  }
}

/** Called wrongly: exit code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}
