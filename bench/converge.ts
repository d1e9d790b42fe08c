// A start with many leases in the store, from exec until the kernel has told of the last object: neighbour, FDB
// entry, nexthop and route of each peer. The floor is what iproute2 takes for the very same objects in the same form
// in a namespace like it, turn by turn: once with nobody listening, and once with the observer, which costs whoever
// makes an object some of the kernel's time. flanneld always has the observer, and its own subscription besides.

import type { Bench } from "./bench.ts";
import { each } from "./counts.ts";
import { type BatchFiles, DEVICE, writeBatchFiles } from "./leases.ts";
import { settle } from "./machine.ts";
import { BenchNode } from "./node.ts";
import { cpuSeconds, memoryOf } from "./process.ts";
import type { Table } from "./table.ts";

/** What takes seconds is done less often. */
const SIZES = [
  { peers: 1_000, share: 1 },
  { peers: 5_000, share: 1 },
  { peers: 50_000, share: 0.2 },
] as const;

export async function converge(bench: Bench): Promise<readonly Table[]> {
  const tables: Table[] = [];
  for (const { peers, share } of SIZES) {
    tables.push(await convergeTo(bench, peers, Math.max(1, Math.round(bench.runs * share))));
  }
  return tables;
}

interface Samples {
  readonly floor: number[];
  readonly observedFloor: number[];
  readonly all: number[];
  readonly file: number[];
  readonly cpu: number[];
  readonly peak: number[];
}

async function convergeTo(bench: Bench, peers: number, runs: number): Promise<Table> {
  const samples: Samples = { floor: [], observedFloor: [], all: [], file: [], cpu: [], peak: [] };
  for (let run = 0; run < runs; run++) {
    bench.say(`converge: ${peers} peers, run ${run + 1} of ${runs}`);
    samples.floor.push(await floorOf(peers, false));
    samples.observedFloor.push(await floorOf(peers, true));
    await startWith(bench, peers, samples);
  }
  const unobserved = "ip -batch, bridge -batch";
  const observed = `${unobserved}, observed`;
  const goal = peers === 5_000 && { goal: "≤ 2 ×" };
  return {
    title: `Start with ${peers.toLocaleString("en")} leases in the store`,
    rows: [
      { name: unobserved, unit: "ms", samples: samples.floor },
      { name: observed, unit: "ms", samples: samples.observedFloor, against: unobserved },
      { name: "exec → all programmed", unit: "ms", samples: samples.all, against: observed, ...goal },
      { name: "… against the floor that nobody observes", unit: "ms", samples: samples.all, against: unobserved },
      { name: "exec → subnet.env", unit: "ms", samples: samples.file },
      { name: "CPU until idle", unit: "s", samples: samples.cpu },
      { name: "peak RSS", unit: "MiB", samples: samples.peak },
    ],
  };
}

/** Milliseconds that iproute2 takes; the device is there before. */
async function floorOf(peers: number, observed: boolean): Promise<number> {
  using node = new BenchNode();
  const files = writeBatchFiles(node.directory, peers);
  node.namespace.run(
    `ip link add ${DEVICE} type vxlan id 1 dev eth0 local 192.168.77.1 dstport 8472 nolearning && ip link set ${DEVICE} up`,
  );
  await using observer = observed ? await node.observe() : undefined;
  await settle();
  const all = await observer?.expect({ made: each(peers) });
  const took = await runBatches(node, files);
  await all?.seen;
  node.requirePeers(peers);
  return took;
}

async function runBatches(node: BenchNode, files: BatchFiles): Promise<number> {
  return (await node.time(["bridge", "-batch", files.bridge])) + (await node.time(["ip", "-batch", files.ip]));
}

async function startWith({ flanneld, stores, signal }: Bench, peers: number, samples: Samples): Promise<void> {
  using node = new BenchNode();
  await stores.copy(peers, node.store, signal);
  await using observer = await node.observe();
  await settle();
  const written = await observer.expect({ file: "subnet.env" });
  const all = await observer.expect({ made: each(peers) });
  await using daemon = node.start(flanneld);
  const [file, last] = await Promise.all([written.seen, all.seen]);
  samples.file.push(file.at - daemon.startedAt);
  samples.all.push(last.at - daemon.startedAt);
  await daemon.idle();
  samples.cpu.push(cpuSeconds(daemon.pid));
  samples.peak.push(memoryOf(daemon.pid).peakMiB);
  node.requirePeers(peers);
}
