// Drift and take-over at scale: the device is deleted under a running daemon, and a daemon starts where everything
// stands already.

import { openRegistry } from "../src/subnet/open.ts";
import type { Bench } from "./bench.ts";
import { each, now } from "./counts.ts";
import { DEVICE, putPeer } from "./leases.ts";
import { settle } from "./machine.ts";
import { BenchNode } from "./node.ts";
import type { Row, Table } from "./table.ts";

const PEERS = [2, 5_000] as const;

interface Samples {
  readonly peers: number;
  readonly repaired: number[];
  readonly ready: number[];
  readonly late: number[];
  readonly touched: number[];
}

export async function repair(bench: Bench): Promise<readonly Table[]> {
  const tables: Table[] = [];
  for (const peers of PEERS) {
    const samples: Samples = { peers, repaired: [], ready: [], late: [], touched: [] };
    for (let run = 0; run < bench.runs; run++) {
      bench.say(`repair: ${peers} peers, run ${run + 1} of ${bench.runs}`);
      await once(bench, samples);
    }
    tables.push(tableOf(samples));
  }
  return tables;
}

async function once({ flanneld, stores, signal }: Bench, samples: Samples): Promise<void> {
  const { peers } = samples;
  using node = new BenchNode();
  await stores.copy(peers, node.store, signal);
  await using observer = await node.observe();
  {
    const first = await observer.expect({ made: each(peers) });
    await using daemon = node.start(flanneld);
    await first.seen;
    await daemon.idle();
    await settle();
    const again = await observer.expect({ made: each(peers), up: true });
    const begun = now();
    node.namespace.run(`ip link delete ${DEVICE}`);
    samples.repaired.push((await again.seen).at - begun);
    await daemon.idle();
    node.requirePeers(peers);
  }
  // One peer comes while no daemon runs: its route shows when the one that follows has taken everything over.
  {
    using registry = await openRegistry({ kind: "embedded", path: node.store }, signal);
    await putPeer(registry, peers, signal);
  }
  await settle();
  const before = await observer.counts();
  const announced = await observer.expect({ ready: true });
  const late = await observer.expect({ made: { route: 1 } });
  await using daemon = node.start(flanneld);
  const [ready, route] = await Promise.all([announced.seen, late.seen]);
  samples.ready.push(ready.at - daemon.startedAt);
  samples.late.push(route.at - daemon.startedAt);
  await daemon.idle();
  node.requirePeers(peers + 1);
  const after = await observer.counts();
  const sum = ({ made, gone }: typeof after) =>
    [...Object.values(made), ...Object.values(gone)].reduce((total, count) => total + count, 0);
  samples.touched.push(sum(after) - sum(before) - Object.keys(each(1)).length);
}

function tableOf({ peers, repaired, ready, late, touched }: Samples): Table {
  const rows: Row[] = [
    { name: "device deleted → last object back", unit: "ms", samples: repaired },
    { name: "restart: exec → ready", unit: "ms", samples: ready },
    { name: "restart: exec → route of a peer that came meanwhile", unit: "ms", samples: late },
    { name: "restart: objects touched besides that peer's", unit: "objects", samples: touched, goal: "0" },
  ];
  return { title: `Repair and take-over, ${peers.toLocaleString("en")} peers`, rows };
}
