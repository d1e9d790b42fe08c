// Ours beside Go's flanneld on the same etcd, turn by turn in the same namespace: a start, a start with many leases there, one put until the kernel has it, and
// memory. FLANNEL_GO (a recent one, etcd v3) and FLANNEL_GO_V071 (v0.7.1, etcd v2) name the Go programs; nothing is measured without them.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { RTPROT_BOOT } from "../src/netlink/route.ts";
import { ROUTE_PROTOCOL } from "../src/state/print.ts";
import type { Bench } from "./bench.ts";
import type { Kind } from "./counts.ts";
import { EtcdNode } from "./etcd_node.ts";
import { settle } from "./machine.ts";
import type { Observer } from "./observer.ts";
import { memoryOf } from "./process.ts";
import type { Row, Table } from "./table.ts";

const MANY = 1_000;
const FEW = 2;
const PUTS_PER_RUN = 20;
const PAUSE_MS = 30;
/** Starts that are followed by a rest, which takes long and varies little. */
const RESTS = 3;
const REST_MS = 12_000;

/** Nobody writes firewall rules, which v0.7.1 does not know for forwarding. */
const NO_RULES = ["--iptables-forward-rules=false"];

interface Contender {
  readonly name: string;
  readonly executable: string;
  readonly flags: readonly string[];
  readonly routeProtocol: number;
  /** What it makes for each peer; the last one is what a packet waits for. */
  readonly makes: readonly Kind[];
}

const FIGURES = [
  "exec → subnet.env, 2 peers",
  "exec → subnet.env, 1,000 leases",
  "exec → all of 1,000 programmed",
  "put → programmed",
  "RSS at rest, 2 peers",
] as const;
type Figure = (typeof FIGURES)[number];
type Samples = Record<Figure, number[]>;

export async function interop(bench: Bench): Promise<readonly Table[]> {
  const { FLANNEL_GO, FLANNEL_GO_V071 } = process.env;
  const ours: Contender = {
    name: "ours",
    executable: bench.flanneld,
    flags: NO_RULES,
    routeProtocol: ROUTE_PROTOCOL,
    makes: ["neighbour", "fdb", "nexthop", "route"],
  };
  const tables: Table[] = [];
  if (FLANNEL_GO) {
    const go: Contender = {
      name: "Go",
      executable: FLANNEL_GO,
      flags: NO_RULES,
      routeProtocol: RTPROT_BOOT,
      makes: ["neighbour", "fdb", "route"],
    };
    tables.push(await compare(bench, "3", "Ours beside Go flannel, etcd v3", ours, go));
  }
  if (FLANNEL_GO_V071) {
    // It has one route for all peers, and a neighbour once a packet asks for it.
    const go = { ...ours, name: "Go v0.7.1", executable: FLANNEL_GO_V071, makes: ["fdb"] as const };
    tables.push(await compare(bench, "2", "Ours beside Go flannel v0.7.1, etcd v2", ours, go));
  }
  return tables;
}

async function compare(bench: Bench, api: "2" | "3", title: string, ours: Contender, go: Contender): Promise<Table> {
  await using etcd = await EtcdNode.open(api);
  const both = [go, ours].map((contender) => ({ contender, samples: noSamples() }));
  const all = async (what: string, runs: number, once: (contender: Contender, samples: Samples) => Promise<void>) => {
    for (let run = -1; run < runs; run++) {
      for (const { contender, samples } of both) {
        bench.signal.throwIfAborted();
        bench.say(`interop: etcd v${api}, ${contender.name}, ${what}, run ${run + 1} of ${runs}`);
        await once(contender, run < 0 ? noSamples() : samples); // the first brings the executable into the page cache
      }
    }
  };
  await etcd.order({ verb: "fill", from: 0, count: MANY, parallel: 16 });
  await all("1,000 leases", bench.runs, (contender, samples) => startWithMany(etcd, contender, samples));
  await etcd.order({ verb: "clear", from: FEW, count: MANY - FEW });
  await all("puts", bench.runs, (contender, samples) => startAndPut(etcd, contender, samples));
  await all("at rest", RESTS, (contender, samples) => rest(etcd, contender, samples));
  const name = (figure: Figure, { name }: Contender) => `${figure}, ${name}`;
  const rows = FIGURES.flatMap((figure) =>
    both.map(({ contender, samples }): Row => {
      const against = contender === ours ? { against: name(figure, go) } : {};
      return {
        name: name(figure, contender),
        unit: figure.startsWith("RSS") ? "MiB" : "ms",
        samples: samples[figure],
        ...against,
      };
    }),
  );
  return { title, rows };
}

function noSamples(): Samples {
  return Object.fromEntries(FIGURES.map((figure) => [figure, [] as number[]])) as Samples;
}

/** The daemon on a node where none was before, once it has programmed so many peers. */
async function started(etcd: EtcdNode, contender: Contender, observer: Observer, peers: number) {
  const made = Object.fromEntries(contender.makes.map((kind) => [kind, peers]));
  await settle();
  const written = await observer.expect({ file: "subnet.env" });
  const programmed = await observer.expect({ made });
  const { node } = etcd;
  node.flags = contender.flags;
  const daemon = node.start(contender.executable);
  try {
    const [file, all] = await Promise.all([written.seen, programmed.seen]);
    await daemon.idle();
    const objects = node.objects();
    if (objects.fdb !== peers) throw new Error(`want ${peers} peers in the kernel, got ${JSON.stringify(objects)}`);
    return { daemon, file: file.at - daemon.startedAt, all: all.at - daemon.startedAt };
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
}

async function observed(
  etcd: EtcdNode,
  contender: Contender,
  act: (observer: Observer) => Promise<void>,
): Promise<void> {
  const { node } = etcd;
  node.namespace.run("ip link del flannel.1 2>/dev/null || true; ip nexthop flush protocol 70 2>/dev/null || true");
  rmSync(join(node.directory, "subnet.env"), { force: true });
  etcd.forgetOwnLeases();
  await using observer = await node.observe(contender.routeProtocol);
  await act(observer);
}

function startWithMany(etcd: EtcdNode, contender: Contender, samples: Samples): Promise<void> {
  return observed(etcd, contender, async (observer) => {
    const { daemon, file, all } = await started(etcd, contender, observer, MANY);
    await using _ = daemon;
    samples["exec → subnet.env, 1,000 leases"].push(file);
    samples["exec → all of 1,000 programmed"].push(all);
  });
}

function startAndPut(etcd: EtcdNode, contender: Contender, samples: Samples): Promise<void> {
  return observed(etcd, contender, async (observer) => {
    const { daemon, file } = await started(etcd, contender, observer, FEW);
    await using _ = daemon;
    samples["exec → subnet.env, 2 peers"].push(file);
    const kind = contender.makes.at(-1) ?? "fdb";
    for (let put = -2; put < PUTS_PER_RUN; put++) {
      await Bun.sleep(PAUSE_MS);
      const made = await observer.expect({ made: { [kind]: 1 } });
      const { called } = await etcd.order({ verb: "put", peer: FEW });
      const { at } = await made.seen;
      if (put >= 0) samples["put → programmed"].push(at - called);
      await Bun.sleep(PAUSE_MS);
      const gone = await observer.expect({ gone: { [kind]: 1 } });
      await etcd.order({ verb: "remove", peer: FEW });
      await gone.seen;
    }
  });
}

function rest(etcd: EtcdNode, contender: Contender, samples: Samples): Promise<void> {
  return observed(etcd, contender, async (observer) => {
    const { daemon } = await started(etcd, contender, observer, FEW);
    await using _ = daemon;
    await Bun.sleep(REST_MS);
    samples["RSS at rest, 2 peers"].push(memoryOf(daemon.pid).residentMiB);
  });
}
