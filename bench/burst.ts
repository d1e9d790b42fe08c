// Many leases at once, written as fast as one writer can: from the first write to the last object, made and gone.

import { openRegistry } from "../src/subnet/open.ts";
import type { Bench } from "./bench.ts";
import { each, now } from "./counts.ts";
import { putPeer, removePeer } from "./leases.ts";
import { settle } from "./machine.ts";
import { BenchNode } from "./node.ts";
import { cpuSeconds } from "./process.ts";
import type { Table } from "./table.ts";

const PEERS = 1_000;
/** There before, and left alone. */
const STANDING = 2;

export async function burst(bench: Bench): Promise<readonly Table[]> {
  const puts: Samples = { write: [], all: [], cpu: [] };
  const deletes: Samples = { write: [], all: [], cpu: [] };
  for (let run = 0; run < bench.runs; run++) {
    bench.say(`burst: run ${run + 1} of ${bench.runs}`);
    await once(bench, puts, deletes);
  }
  const count = PEERS.toLocaleString("en");
  return [tableOf(`${count} puts`, puts, "in the kernel"), tableOf(`${count} deletes`, deletes, "gone")];
}

type Samples = Readonly<Record<"write" | "all" | "cpu", number[]>>;

async function once({ flanneld, stores, signal }: Bench, puts: Samples, deletes: Samples): Promise<void> {
  using node = new BenchNode();
  await stores.copy(STANDING, node.store, signal);
  await using observer = await node.observe();
  const standing = await observer.expect({ made: each(STANDING) });
  await using daemon = node.start(flanneld);
  await standing.seen;
  using registry = await openRegistry({ kind: "embedded", path: node.store }, signal);
  const peers = Array.from({ length: PEERS }, (_, i) => STANDING + i);
  const phase = async (samples: Samples, made: boolean) => {
    await daemon.idle();
    await settle();
    const all = await observer.expect(made ? { made: each(PEERS) } : { gone: each(PEERS) });
    const spent = cpuSeconds(daemon.pid);
    const begun = now();
    for (const peer of peers) await (made ? putPeer(registry, peer, signal) : removePeer(registry, peer, signal));
    samples.write.push(now() - begun);
    samples.all.push((await all.seen).at - begun);
    await daemon.idle();
    samples.cpu.push(cpuSeconds(daemon.pid) - spent);
    node.requirePeers(made ? STANDING + PEERS : STANDING);
  };
  await phase(puts, true);
  await phase(deletes, false);
}

function tableOf(title: string, { write, all, cpu }: Samples, end: string): Table {
  const writing = "writing them";
  return {
    title: `Burst of ${title}`,
    rows: [
      { name: writing, unit: "ms", samples: write },
      { name: `first write → all ${end}`, unit: "ms", samples: all, against: writing },
      { name: "CPU until idle", unit: "s", samples: cpu },
    ],
  };
}
