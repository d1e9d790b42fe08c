// flanneld on Kubernetes: a start with many nodes there, one annotation patch until its route, and what the status updates of all kubelets cost. The API server is
// the tests' double on the same machine, in the node's namespace.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { flannelAnnotations, heartbeat, madeNode } from "../test/kubernetes/made_nodes.ts";
import type { Bench } from "./bench.ts";
import { each, now } from "./counts.ts";
import { KubeNode } from "./kube_node.ts";
import { settle } from "./machine.ts";
import type { BenchNode } from "./node.ts";
import { cpuSeconds, growth, type Memory, memoryOf, usageOf } from "./process.ts";
import type { Table } from "./table.ts";

/** Of a node on which fifty images lie. */
const NODE_BYTES = 12_000;
const FIRST = 1_000;
const PATCHES_PER_RUN = 25;
const PAUSE_MS = 20;
const BEATING_MS = 10_000;
const KUBELETS = 5_000;
/** More than caches hold. */
const DISTINCT = 2_000;
const REST_MS = 10_000;

export async function kubernetes(bench: Bench): Promise<readonly Table[]> {
  return [
    await starts(bench, 1_000, "≤ 300 ms"),
    await starts(bench, 5_000),
    await patches(bench),
    await heartbeats(bench, 300_000),
    await heartbeats(bench, 10_000),
  ];
}

async function starts({ flanneld, runs, signal, say }: Bench, count: number, goal?: string): Promise<Table> {
  await using place = await KubeNode.open();
  const { node, cluster } = place;
  say(`kubernetes: ${count} nodes`);
  await cluster.fate("fill", { from: FIRST, count, bytes: NODE_BYTES, overMs: 0 });
  const samples: Record<"file" | "all" | "cpu" | "asked", number[]> = { file: [], all: [], cpu: [], asked: [] };
  let memory: Memory | undefined;
  for (let run = -1; run < runs; run++) {
    signal.throwIfAborted();
    say(`kubernetes: start with ${count} nodes, run ${run + 1} of ${runs}`);
    node.namespace.run("ip link del flannel.1 2>/dev/null || true; ip nexthop flush proto 70 2>/dev/null || true");
    rmSync(join(node.directory, "subnet.env"), { force: true });
    await using observer = await node.observe();
    await settle();
    const written = await observer.expect({ file: "subnet.env" });
    const all = await observer.expect({ made: each(count) });
    await cluster.asked();
    await using daemon = node.start(flanneld);
    const [file, last] = await Promise.all([written.seen, all.seen]);
    await daemon.idle();
    node.requirePeers(count);
    const asked = await cluster.asked();
    if (run < 0) continue; // the first brings the executable into the page cache
    samples.file.push(file.at - daemon.startedAt);
    samples.all.push(last.at - daemon.startedAt);
    samples.cpu.push(cpuSeconds(daemon.pid));
    samples.asked.push(asked.length);
    if (run < runs - 1) continue;
    await Bun.sleep(REST_MS);
    memory = memoryOf(daemon.pid);
  }
  return {
    title: `Start with ${count.toLocaleString("en")} Kubernetes nodes of ${NODE_BYTES / 1_000} KB`,
    rows: [
      { name: "exec → subnet.env", unit: "ms", samples: samples.file, goal: "≤ 100 ms" },
      { name: "exec → all programmed", unit: "ms", samples: samples.all, ...(goal !== undefined && { goal }) },
      { name: "CPU until idle", unit: "s", samples: samples.cpu },
      { name: "requests", unit: "", samples: samples.asked },
      ...(memory
        ? [
            { name: "RSS at rest", unit: "MiB", samples: [memory.residentMiB], ...(goal && { goal: "≤ 55 MiB" }) },
            { name: "of it anonymous", unit: "MiB", samples: [memory.anonymousMiB] },
            { name: "peak RSS", unit: "MiB", samples: [memory.peakMiB] },
          ]
        : []),
    ],
  };
}

async function patches({ flanneld, runs, signal, say }: Bench): Promise<Table> {
  await using place = await KubeNode.open();
  const { node, cluster } = place;
  await cluster.fate("fill", { from: FIRST, count: 2, bytes: NODE_BYTES, overMs: 0 });
  const { metadata, ...bare } = madeNode(FIRST + 2, NODE_BYTES) as { metadata: { name: string } };
  await cluster.create({ ...bare, metadata: { name: metadata.name } });
  await using observer = await node.observe();
  const standing = await observer.expect({ made: each(2) });
  await using daemon = node.start(flanneld);
  await standing.seen;
  await daemon.idle();
  const annotations = flannelAnnotations(FIRST + 2);
  const none = Object.fromEntries(Object.keys(annotations).map((name) => [name, null]));
  const samples: Record<"patch" | "route" | "after" | "gone", number[]> = { patch: [], route: [], after: [], gone: [] };
  const rounds = runs * PATCHES_PER_RUN;
  say(`kubernetes: ${rounds} patches`);
  for (let round = -5; round < rounds; round++) {
    signal.throwIfAborted();
    await Bun.sleep(PAUSE_MS);
    const made = await observer.expect({ made: { route: 1 } });
    const called = now();
    await cluster.annotate(metadata.name, annotations);
    const returned = now();
    const seen = await made.seen;
    await Bun.sleep(PAUSE_MS);
    const left = await observer.expect({ gone: { route: 1 } });
    const removing = now();
    await cluster.annotate(metadata.name, none);
    const lost = await left.seen;
    if (round < 0) continue; // the connections are warm
    samples.patch.push(returned - called);
    samples.route.push(seen.at - called);
    samples.after.push(seen.at - returned);
    samples.gone.push(lost.at - removing);
  }
  const itself = "the patch itself";
  return {
    title: "One annotation patch, 2 other nodes",
    rows: [
      { name: itself, unit: "ms", samples: samples.patch },
      { name: "patch → route", unit: "ms", samples: samples.route, against: itself },
      { name: "the server's answer → route", unit: "ms", samples: samples.after, goal: "≤ 2 ms" },
      { name: "annotations removed → route gone", unit: "ms", samples: samples.gone },
    ],
  };
}

async function heartbeats({ flanneld, signal, say }: Bench, everyMs: number): Promise<Table> {
  await using place = await KubeNode.open();
  const { node, cluster } = place;
  await cluster.fate("fill", { from: FIRST, count: KUBELETS, bytes: NODE_BYTES, overMs: 0 });
  await using observer = await node.observe();
  const standing = await observer.expect({ made: each(KUBELETS) });
  await using daemon = node.start(flanneld);
  await standing.seen;
  await Bun.sleep(REST_MS);
  signal.throwIfAborted();
  say(`kubernetes: ${KUBELETS} kubelets, one update in ${everyMs / 1_000} s each`);
  await cluster.fate("heartbeats", { from: FIRST, count: KUBELETS, everyMs });
  await Bun.sleep(2_000);
  const versionOf = async () => Number((await cluster.list(1)).metadata.resourceVersion);
  const [begun, from, before, had] = [performance.now(), await versionOf(), usageOf(daemon.pid), received(node)];
  await Bun.sleep(BEATING_MS);
  const [after, to, has] = [usageOf(daemon.pid), await versionOf(), received(node)];
  const seconds = (performance.now() - begun) / 1_000;
  await cluster.fate("heartbeats", { from: FIRST, count: KUBELETS, everyMs: 0 });
  const spent = growth(before.nanoseconds, after.nanoseconds) / 1e9;
  const plain = plainReading(to - from);
  const reading = "splitting and JSON.parse of whole nodes";
  const quick = everyMs <= 10_000;
  return {
    title: `${KUBELETS.toLocaleString("en")} nodes of ${NODE_BYTES / 1_000} KB, a status update of each in ${everyMs / 1_000} s; flanneld asks for their metadata alone`,
    rows: [
      { name: "updates a second", unit: "", samples: [(to - from) / seconds] },
      { name: "flanneld receives, of each", unit: "KB", samples: [(has - had) / (to - from) / 1_000] },
      { name: reading, unit: "s of CPU", samples: [plain] },
      {
        name: "flanneld in all",
        unit: "s of CPU",
        samples: [spent],
        against: reading,
        ...(quick && { goal: "≤ 1.5 ×" }),
      },
      { name: "for each update", unit: "µs", samples: [(1e6 * spent) / (to - from)] },
      { name: "of a core", unit: "%", samples: [(100 * spent) / seconds], ...(!quick && { goal: "≤ 1 %" }) },
      { name: "RSS", unit: "MiB", samples: [memoryOf(daemon.pid).residentMiB] },
    ],
  };
}

/** Bytes that flanneld's connection to the API server has received so far, TLS and all. */
function received({ namespace }: BenchNode): number {
  return Number(/bytes_received:(\d+)/.exec(namespace.run("ss --tcp --numeric --info --no-header dst :6443"))?.[1]);
}

/** Seconds of CPU that it takes this process to split so many events into lines and to parse them, each a whole node as every client gets it that does not ask otherwise. */
function plainReading(count: number): number {
  const bytes = Buffer.concat(
    Array.from({ length: DISTINCT }, (_, i) => {
      const object = { kind: "Node", apiVersion: "v1", ...madeNode(FIRST + i, NODE_BYTES), beat: heartbeat() };
      return Buffer.from(`${JSON.stringify({ type: "MODIFIED", object })}\n`);
    }),
  );
  const decoder = new TextDecoder();
  const begun = process.cpuUsage();
  let read = 0;
  while (read < count) {
    for (
      let from = 0, end = bytes.indexOf(10);
      end >= 0 && read < count;
      from = end + 1, end = bytes.indexOf(10, from)
    ) {
      JSON.parse(decoder.decode(bytes.subarray(from, end)));
      read++;
    }
  }
  const { user, system } = process.cpuUsage(begun);
  return (user + system) / 1e6;
}
