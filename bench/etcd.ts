// flanneld on etcd v3: a start with many leases there, one put until its route, a burst, and rest. etcd runs on the same machine, in the node's namespace.

import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "./bench.ts";
import { each } from "./counts.ts";
import { EtcdNode } from "./etcd_node.ts";
import { settle } from "./machine.ts";
import type { Daemon } from "./node.ts";
import type { Observer } from "./observer.ts";
import { cpuSeconds, growth, memoryOf, usageOf } from "./process.ts";
import type { Table } from "./table.ts";

const MANY = 5_000;
const BURST = 1_000;
const FEW = 2;
/** Puts for one of the other samples: 20 runs make 500. */
const PUTS_PER_RUN = 25;
const PAUSE_MS = 20;
const AFTER_START_MS = 10_000;
const REST_MS = 20_000;

export async function etcd(bench: Bench): Promise<readonly Table[]> {
  return [await starts(bench), await puts(bench), await bursts(bench), await rests(bench)];
}

async function starts({ flanneld, runs, signal, say }: Bench): Promise<Table> {
  await using etcd = await EtcdNode.open();
  say(`etcd: writing ${MANY} leases`);
  await etcd.order({ verb: "fill", from: 0, count: MANY, parallel: 32 });
  const samples: Record<"file" | "all" | "cpu" | "asked", number[]> = { file: [], all: [], cpu: [], asked: [] };
  for (let run = -1; run < runs; run++) {
    signal.throwIfAborted();
    say(`etcd: start with ${MANY} leases, run ${run + 1} of ${runs}`);
    etcd.node.namespace.run("ip link del flannel.1 2>/dev/null || true; ip nexthop flush proto 70 2>/dev/null || true");
    rmSync(join(etcd.node.directory, "subnet.env"), { force: true });
    etcd.forgetOwnLeases();
    await using observer = await etcd.node.observe();
    await settle();
    const written = await observer.expect({ file: "subnet.env" });
    const all = await observer.expect({ made: each(MANY) });
    const before = etcd.requests();
    await using daemon = etcd.node.start(flanneld);
    const [file, last] = await Promise.all([written.seen, all.seen]);
    await daemon.idle();
    etcd.node.requirePeers(MANY);
    const asked = growthOf(before, etcd.requests());
    if (run < 0) continue; // the first brings the executable into the page cache
    samples.file.push(file.at - daemon.startedAt);
    samples.all.push(last.at - daemon.startedAt);
    samples.cpu.push(cpuSeconds(daemon.pid));
    samples.asked.push([...asked.values()].reduce((sum, count) => sum + count, 0));
  }
  return {
    title: `Start with ${MANY.toLocaleString("en")} leases in etcd v3`,
    rows: [
      { name: "exec → subnet.env", unit: "ms", samples: samples.file },
      { name: "exec → all programmed", unit: "ms", samples: samples.all, goal: "≤ 400 ms" },
      { name: "CPU until idle", unit: "s", samples: samples.cpu },
      { name: "requests to etcd, watches included", unit: "", samples: samples.asked },
    ],
  };
}

function growthOf(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  const grown = [...after].map(([method, count]) => [method, count - (before.get(method) ?? 0)] as const);
  return new Map(grown.filter(([, count]) => count > 0));
}

/** A flanneld that has programmed a few peers, and what it stands on; everything ends with it, the daemon first. */
class Place implements AsyncDisposable {
  readonly etcd: EtcdNode;
  readonly observer: Observer;
  readonly daemon: Daemon;
  readonly #all: AsyncDisposableStack;

  private constructor(etcd: EtcdNode, observer: Observer, daemon: Daemon, all: AsyncDisposableStack) {
    this.etcd = etcd;
    this.observer = observer;
    this.daemon = daemon;
    this.#all = all;
  }

  static async open(flanneld: string): Promise<Place> {
    await using stack = new AsyncDisposableStack();
    const etcd = stack.use(await EtcdNode.open());
    await etcd.order({ verb: "fill", from: 0, count: FEW, parallel: 1 });
    const observer = stack.use(await etcd.node.observe());
    const standing = await observer.expect({ made: each(FEW) });
    const daemon = stack.use(etcd.node.start(flanneld));
    await standing.seen;
    return new Place(etcd, observer, daemon, stack.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#all.disposeAsync();
  }
}

async function puts({ flanneld, runs, signal, say }: Bench): Promise<Table> {
  await using place = await Place.open(flanneld);
  const { etcd, observer, daemon } = place;
  await daemon.idle();
  const put: number[] = [];
  const route: number[] = [];
  const remove: number[] = [];
  const gone: number[] = [];
  const rounds = runs * PUTS_PER_RUN;
  say(`etcd: ${rounds} puts`);
  for (let round = -5; round < rounds; round++) {
    signal.throwIfAborted();
    await Bun.sleep(PAUSE_MS);
    const made = await observer.expect({ made: { route: 1 } });
    const written = await etcd.order({ verb: "put", peer: FEW });
    const seen = await made.seen;
    await Bun.sleep(PAUSE_MS);
    const left = await observer.expect({ gone: { route: 1 } });
    const removed = await etcd.order({ verb: "remove", peer: FEW });
    const lost = await left.seen;
    if (round < 0) continue; // the connections are warm
    put.push(written.returned - written.called);
    route.push(seen.at - written.called);
    remove.push(removed.returned - removed.called);
    gone.push(lost.at - removed.called);
  }
  const itself = "the put itself";
  const removing = "reading and deleting itself";
  return {
    title: `One lease comes and goes, etcd v3, ${FEW} peers`,
    rows: [
      { name: itself, unit: "ms", samples: put },
      { name: "put → route", unit: "ms", samples: route, against: itself, goal: "≤ 2 ×" },
      { name: removing, unit: "ms", samples: remove },
      { name: "delete → route gone", unit: "ms", samples: gone, against: removing },
    ],
  };
}

async function bursts({ flanneld, runs, signal, say }: Bench): Promise<Table> {
  await using place = await Place.open(flanneld);
  const { etcd, observer, daemon } = place;
  const write: number[] = [];
  const all: number[] = [];
  const cpu: number[] = [];
  for (let run = -1; run < runs; run++) {
    signal.throwIfAborted();
    say(`etcd: burst ${run + 1} of ${runs}`);
    await daemon.idle();
    const made = await observer.expect({ made: each(BURST) });
    const spent = cpuSeconds(daemon.pid);
    const written = await etcd.order({ verb: "burst", from: FEW, count: BURST });
    const last = await made.seen;
    await daemon.idle();
    etcd.node.requirePeers(FEW + BURST);
    const gone = await observer.expect({ gone: each(BURST) });
    const used = cpuSeconds(daemon.pid) - spent;
    await etcd.order({ verb: "clear", from: FEW, count: BURST });
    await gone.seen;
    if (run < 0) continue;
    write.push(written.returned - written.called);
    all.push(last.at - written.called);
    cpu.push(used);
  }
  const writing = "writing them";
  return {
    title: `Burst of ${BURST.toLocaleString("en")} puts, etcd v3`,
    rows: [
      { name: writing, unit: "ms", samples: write },
      { name: "first write → all in the kernel", unit: "ms", samples: all, against: writing, goal: "≤ 1.2 ×" },
      { name: "CPU until idle", unit: "s", samples: cpu },
    ],
  };
}

async function rests({ flanneld, say }: Bench): Promise<Table> {
  await using place = await Place.open(flanneld);
  const { daemon } = place;
  await Bun.sleep(AFTER_START_MS);
  say(`etcd: at rest for ${REST_MS / 1000} s`);
  const begun = performance.now();
  const before = usageOf(daemon.pid);
  await Bun.sleep(REST_MS);
  const after = usageOf(daemon.pid);
  const seconds = (performance.now() - begun) / 1000;
  const share = (100 * growth(before.nanoseconds, after.nanoseconds)) / 1e9 / seconds;
  const { residentMiB, anonymousMiB, peakMiB } = memoryOf(daemon.pid);
  return {
    title: `At rest on etcd v3, ${FEW} peers`,
    rows: [
      { name: "RSS", unit: "MiB", samples: [residentMiB], goal: "≤ 60 MiB" },
      { name: "of it anonymous", unit: "MiB", samples: [anonymousMiB] },
      { name: "peak RSS", unit: "MiB", samples: [peakMiB] },
      { name: "CPU", unit: "% of a core", samples: [share] },
    ],
  };
}
