// What is shortened elsewhere, at its true length: an outage of thirty minutes, and five minutes in which nothing happens. Not part of `make test`; prints how
// long it took to notice and to recover.
//
//   make test-long

import { expect, test } from "bun:test";
import { open, surviveOutage } from "../e2e/etcd_network.ts";
import type { Node } from "../e2e/nodes.ts";
import { until } from "../e2e/program.ts";

const MINUTE_MS = 60_000;
/** By then v2 has asked for its first sign of life, on a connection beside the watch's. */
const SETTLES_MS = 15_000;

test(
  "an outage of thirty minutes, in both generations at once",
  async () => {
    const both = await Promise.all((["3", "2"] as const).map((api) => surviveOutage(api, 30 * MINUTE_MS)));
    for (const [i, { noticed, healed }] of both.entries()) {
      const [generation, one, other] = [3 - i, noticed, healed].map((figure) => figure.toFixed(0));
      console.log(
        `etcd v${generation}: outage noticed after ${one} ms; healed until the kernel had the changes ${other} ms`,
      );
    }
  },
  45 * MINUTE_MS,
);

/** The node's own ends of its connections to etcd. */
function connections(node: Node): string[] {
  const lines = node.run("ss -Htn state established '( dport = :2379 )'").trim().split("\n");
  return lines.map((line) => line.trim().split(/\s+/)[2] ?? "").sort();
}

test.each(["3", "2"] as const)(
  "etcd v%s: a watch on which nothing happens for five minutes lasts on its connection",
  async (api) => {
    const { underlay, node, flanneld, store } = await open(api, 1);
    await using _ = underlay;
    await Bun.sleep(SETTLES_MS);
    const before = connections(node);
    expect(before.length).toBeGreaterThan(0);
    await Bun.sleep(5 * MINUTE_MS);
    expect(connections(node)).toEqual(before);
    expect(flanneld.lines(/^E/)).toEqual([]);
    store.put(155);
    await until("a new route", () => node.objects().some((line) => line.includes("10.5.155.0/24")), flanneld);
    expect(connections(node)).toEqual(before);
  },
  10 * MINUTE_MS,
);
