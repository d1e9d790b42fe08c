// Runs benchmarks and prints their tables. As root; everything happens in network namespaces of its own.
//
//   bun bench/run.ts [NAME …] [--runs=20] [--executable=dist/flanneld] [--json]
//
// `throughput` has options of its own (throughput/throughput.ts).
//
// Nothing here fails because it is slow. Ratios are taken in one run; absolute figures mean this machine, quiet.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Bench, Benchmark } from "./bench.ts";
import { burst } from "./burst.ts";
import { cni } from "./cni.ts";
import { converge } from "./converge.ts";
import { drift } from "./drift.ts";
import { etcd } from "./etcd.ts";
import { events } from "./events.ts";
import { interop } from "./interop.ts";
import { kubernetes } from "./kubernetes.ts";
import { Stores } from "./leases.ts";
import { describeMachine, lookAtMachine } from "./machine.ts";
import { repair } from "./repair.ts";
import { rest } from "./rest.ts";
import { start } from "./start.ts";
import { formatTable, type Table, tableAsJson } from "./table.ts";
import { throughputOptions } from "./throughput/options.ts";
import { throughput } from "./throughput/throughput.ts";

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  start,
  rest,
  events,
  converge,
  burst,
  repair,
  drift,
  etcd,
  kubernetes,
  interop,
  cni,
  throughput,
};
const DEFAULT_RUNS = 20;
/** As the Makefile builds flanneld. */
const COMPILE = ["--compile", "--minify", "--bytecode", "--format=esm", "--splitting"];
const NO_AUTOLOAD = ["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"];

const root = resolve(import.meta.dir, "..");
const { values, positionals } = parseArgs({
  args: Bun.argv.slice(2),
  allowPositionals: true,
  options: {
    runs: { type: "string" },
    executable: { type: "string", default: join(root, "dist/flanneld") },
    json: { type: "boolean", default: false },
    paths: { type: "string" },
    measure: { type: "string" },
    forms: { type: "string" },
    seconds: { type: "string" },
    plots: { type: "string" },
  },
});
const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS);
const unknown = names.filter((name) => !BENCHMARKS[name]);
const runs = Number(values.runs ?? DEFAULT_RUNS);
if (unknown.length > 0 || !Number.isInteger(runs) || runs < 1) {
  console.error(`want [${Object.keys(BENCHMARKS).join("|")} …] [--runs=N] [--executable=PATH] [--json]`);
  process.exit(2);
}
const ofThroughput = (() => {
  try {
    return throughputOptions(values, process.env.FLANNEL_GO);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(2);
  }
})();

const directory = mkdtempSync(join(tmpdir(), "flannel-bench-programs-"));
const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort(new Error(`stopped by ${name}`)));
using stores = new Stores();
try {
  const hello = join(directory, "hello");
  await Bun.$`${process.execPath} build ${COMPILE} ${NO_AUTOLOAD} --outfile ${hello} ${join(root, "bench/hello.ts")}`.quiet();
  const say = (text: string) => void process.stderr.write(`${text}\n`);
  const bench: Bench = {
    flanneld: resolve(values.executable),
    hello,
    runs,
    stores,
    throughput: ofThroughput,
    signal: stop.signal,
    say,
  };
  const all: { readonly machine: object; readonly tables: readonly Table[] }[] = [];
  for (const name of names) {
    const machine = await lookAtMachine();
    if (!values.json) console.log(describeMachine(machine));
    say(`${name} …`);
    const tables = (await BENCHMARKS[name]?.(bench)) ?? [];
    all.push({ machine, tables });
    if (!values.json) for (const table of tables) console.log(`\n${formatTable(table)}\n`);
  }
  if (values.json) {
    console.log(
      JSON.stringify(
        all.map(({ machine, tables }) => ({ machine, tables: tables.map(tableAsJson) })),
        null,
        2,
      ),
    );
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
  console.error(stop.signal.reason.message);
  process.exitCode = 130;
} finally {
  rmSync(directory, { recursive: true, force: true });
}
