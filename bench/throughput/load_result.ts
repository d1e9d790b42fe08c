// What bench/throughput/load.ts says, and where it listens: both sides of its standard output.

export const MAX_FLOWS = 16;
/** This one and the following, one for each flow. */
export const RECEIVE_PORT = 5301;
export const ANSWER_PORT = 5300;

export interface Received {
  readonly packets: number;
  /** From the first to the last. */
  readonly seconds: number;
}

export interface Sent {
  /** That the sender's kernel took. */
  readonly packets: number;
}

export interface RoundTrips {
  readonly trips: number;
  readonly lost: number;
  readonly seconds: number;
}

/** The result is the last line: the programs say "ready" before. */
export function resultOf<T extends object>(output: string): T {
  const line = output.trimEnd().split("\n").at(-1) ?? "";
  try {
    const result: unknown = JSON.parse(line);
    if (typeof result === "object" && result !== null) return result as T;
  } catch {
    // said below
  }
  throw new Error(`want a result as JSON, got: ${output}`);
}
