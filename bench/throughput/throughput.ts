// The data plane: how fast pods on two nodes reach each other over each path, all paths standing at the same time and measured in turn, round by round, so
// that what else the machine does meets all of them. Beside each stands the bare underlay, node to node. Figures in two forms (form.ts), docs/benchmarks.md has
// how to read them.
//
//   bun bench/run.ts throughput [--runs=3] [--paths=udp,vxlan,…] [--measure=tcp1,mix,…] [--forms=lab,wire] [--seconds=2] [--plots=DIRECTORY]
//
// FLANNEL_GO names upstream's flanneld, for the paths upstream-…; it keeps its leases in an etcd of its own.

import type { Bench } from "../bench.ts";
import type { Table } from "../table.ts";
import { measure } from "./measure.ts";
import { MEASUREMENT } from "./measurements.ts";
import { Samples, tablesOf } from "./samples.ts";
import { Site } from "./site.ts";

/** Between two measurements: sockets close, queues run empty. */
const PAUSE_MS = 100;
/** Executables come into the page cache, compilers see what is hot, neighbours are known. */
const WARM_UP_SECONDS = 1;

export async function throughput(bench: Bench): Promise<readonly Table[]> {
  const { rounds, paths, measurements, forms, seconds, plots } = bench.throughput;
  await using open = new AsyncDisposableStack();
  const sites: Site[] = [];
  for (const path of paths) {
    bench.signal.throwIfAborted();
    bench.say(`throughput: setting up ${path}`);
    sites.push(open.use(await Site.open(path, bench.flanneld)));
  }
  const once = async (site: Site, name: (typeof measurements)[number], form: (typeof forms)[number], time: number) => {
    bench.signal.throwIfAborted();
    try {
      return await measure(site, MEASUREMENT[name], form, time);
    } catch (error) {
      throw new Error(`${name} over ${site.name}, ${form}: ${error instanceof Error ? error.message : error}`);
    } finally {
      await Bun.sleep(PAUSE_MS);
    }
  };
  const samples = new Samples();
  for (const site of sites) {
    site.form("lab");
    for (const name of ["tcp1", "mix"] as const) await once(site, name, "lab", WARM_UP_SECONDS);
  }
  for (let round = 0; round < rounds; round++) {
    // Who comes first changes from round to round.
    const inTurn = round % 2 === 0 ? sites : sites.toReversed();
    for (const form of forms) {
      for (const site of sites) site.form(form);
      for (const measurement of measurements) {
        bench.say(`throughput: round ${round + 1} of ${rounds}, ${form}, ${measurement}`);
        for (const site of inTurn) {
          samples.note({ form, measurement, path: site.name }, await once(site, measurement, form, seconds));
        }
      }
    }
  }
  if (plots !== undefined) {
    const { writePlots } = await import("./plots.ts");
    for (const file of writePlots(plots, samples, bench.throughput)) bench.say(`throughput: wrote ${file}`);
  }
  return tablesOf(samples, bench.throughput);
}
