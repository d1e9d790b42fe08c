// What the throughput benchmark is asked for on the command line.

import { MEASUREMENTS, type MeasurementName } from "./measurements.ts";
import { defaultPaths, FORMS, type Form, PATH_NAMES, PATHS, type PathName } from "./paths.ts";

/** A quarter of an hour for everything. */
const DEFAULT_ROUNDS = 3;
const DEFAULT_SECONDS = 2;

export interface ThroughputOptions {
  readonly rounds: number;
  readonly paths: readonly PathName[];
  readonly measurements: readonly MeasurementName[];
  readonly forms: readonly Form[];
  /** Of one measurement; whole, as iperf3 takes them. */
  readonly seconds: number;
  /** Directory that gets SVG files. */
  readonly plots: string | undefined;
  /** Upstream's flanneld. */
  readonly upstream: string | undefined;
}

export interface Given {
  readonly runs?: string | undefined;
  readonly paths?: string | undefined;
  readonly measure?: string | undefined;
  readonly forms?: string | undefined;
  readonly seconds?: string | undefined;
  readonly plots?: string | undefined;
}

const isCount = (value: number) => Number.isInteger(value) && value >= 1;

/** Throws an Error that names every fault. */
export function throughputOptions(given: Given, upstream: string | undefined): ThroughputOptions {
  const faults: string[] = [];
  const list = <T extends string>(flag: string, text: string | undefined, known: readonly T[], usual: readonly T[]) => {
    if (text === undefined) return usual;
    const words = [...new Set(text.split(","))];
    const unknown = words.filter((word) => !known.some((name) => name === word));
    if (unknown.length > 0) faults.push(`--${flag}: got ${unknown.join(",")}, want some of ${known.join(",")}`);
    // In the order of the table, whatever the order given.
    return known.filter((name) => words.includes(name));
  };
  const number = (flag: string, text: string | undefined, usual: number) => {
    const value = text === undefined ? usual : Number(text);
    if (!isCount(value)) faults.push(`--${flag}: got ${text}, want a whole number of at least 1`);
    return value;
  };
  const options = {
    rounds: number("runs", given.runs, DEFAULT_ROUNDS),
    paths: list("paths", given.paths, PATH_NAMES, defaultPaths(upstream !== undefined)),
    measurements: list("measure", given.measure, MEASUREMENTS, MEASUREMENTS),
    forms: list("forms", given.forms, FORMS, FORMS),
    seconds: number("seconds", given.seconds, DEFAULT_SECONDS),
    plots: given.plots,
    upstream,
  };
  const needing = options.paths.filter((name) => PATHS[name].kind === "upstream");
  if (needing.length > 0 && !upstream)
    faults.push(`--paths: ${needing.join(",")} need upstream's flanneld in FLANNEL_GO`);
  if (faults.length > 0) throw new Error(faults.join("; "));
  return options;
}
