// What every benchmark gets and gives.

import type { Stores } from "./leases.ts";
import type { Table } from "./table.ts";
import type { ThroughputOptions } from "./throughput/options.ts";

export interface Bench {
  /** The flanneld to measure. */
  readonly flanneld: string;
  /** A program built like it that does nothing but write one file: the runtime's own part of a start. */
  readonly hello: string;
  /** Samples of what takes a second or less; what takes longer takes fewer. */
  readonly runs: number;
  readonly stores: Stores;
  /** For that benchmark alone. */
  readonly throughput: ThroughputOptions;
  readonly signal: AbortSignal;
  /** A line of progress. */
  readonly say: (text: string) => void;
}

export type Benchmark = (bench: Bench) => Promise<readonly Table[]>;
