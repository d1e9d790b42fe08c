// Drift of every kind on a node with two peers, repaired under the eyes of `ip monitor`: from the kernel's message about the damage to its message about
// the last repair. The cases are those that test/e2e/drift.test.ts holds to be repaired at all.

import { DRIFTS, Observer, repairAll } from "../test/e2e/drift.ts";
import { DUAL_STACK, Underlay } from "../test/e2e/nodes.ts";
import type { Bench } from "./bench.ts";
import type { Table } from "./table.ts";

export async function drift(bench: Bench): Promise<readonly Table[]> {
  const rows = DRIFTS.map(({ name }) => ({ name, unit: "ms" as const, samples: [] as number[] }));
  for (let run = 0; run < bench.runs; run++) {
    bench.say(`drift: run ${run + 1} of ${bench.runs}`);
    const repairs = await once(bench.flanneld);
    for (const { name, ms } of repairs) rows.find((row) => row.name === name)?.samples.push(ms);
  }
  return [{ title: "Drift, until repaired (vxlan, dual stack, 2 peers)", rows }];
}

async function once(executable: string) {
  await using underlay = await Underlay.open({ nodes: 3, config: DUAL_STACK });
  const [node, ...peers] = underlay.nodes;
  const [flanneld] = await Promise.all(
    underlay.nodes.map(async (each) => await each.flanneld({ executable }).peers(2)),
  );
  if (!node || !flanneld) throw new Error("Unreachable");
  return await repairAll(await Observer.start(node), peers, flanneld);
}
