// What is shortened elsewhere, at its true length: an API server that is gone or cut off for five minutes, a watch on which nothing happens for twenty, and the status
// updates of five thousand nodes. Not part of `make test`; prints how long it took to notice and to recover, CPU and memory.
//
//   make test-long

import { expect, test } from "bun:test";
import { cpuSeconds } from "../../bench/process.ts";
import { open, surviveOutage } from "../e2e/kube_network.ts";
import { Underlay } from "../e2e/nodes.ts";
import { madeNode } from "../kubernetes/made_nodes.ts";

const MINUTE_MS = 60_000;

test.each(["gone", "cut"] as const)(
  "the API server is %s for five minutes",
  async (outage) => {
    const { noticed, healed } = await surviveOutage(outage, 5 * MINUTE_MS);
    console.log(
      `kubernetes, ${outage}: noticed after ${noticed.toFixed(0)} ms; healed until the kernel had the changes ${healed.toFixed(0)} ms`,
    );
    expect(healed).toBeGreaterThan(0);
  },
  10 * MINUTE_MS,
);

test(
  "a watch on which nothing happens for twenty minutes: one connection, and no request but the watch that the server ends",
  async () => {
    const { underlay, node, kube, flanneld } = await open(1);
    await using _ = underlay;
    const connections = () => node.run("ss -Htn state established '( dport = :6443 )'").trim().split("\n");
    const before = connections();
    await kube.asked();
    await Bun.sleep(20 * MINUTE_MS);
    expect(connections()).toEqual(before);
    const verbs = (await kube.asked()).map(({ verb }) => verb);
    expect(new Set(verbs)).toEqual(new Set(["watch"]));
    expect(verbs.length).toBeLessThanOrEqual(4); // each lasts five to ten minutes
    expect(flanneld.lines(/^[EW]/)).toEqual([]);
    await kube.create(madeNode(160));
    await flanneld.peers(4);
  },
  30 * MINUTE_MS,
);

test.each([300_000, 10_000])(
  "five thousand nodes of 12 KB report every %d ms, for five minutes",
  async (everyMs) => {
    const config = { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } };
    await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], config, kubernetes: {} });
    const { cluster } = underlay.kube;
    await cluster.fate("fill", { from: 1_000, count: 5_000, bytes: 12_000, overMs: 0 });
    const flanneld = await underlay.node(1).flanneld().peers(5_000);
    await Bun.sleep(10_000);
    const [spent, rss] = [cpuSeconds(flanneld.pid), flanneld.rssKib];
    await cluster.fate("heartbeats", { from: 1_000, count: 5_000, everyMs });
    await Bun.sleep(5 * MINUTE_MS);
    const share = ((cpuSeconds(flanneld.pid) - spent) / 300) * 100;
    const [before, after] = [rss, flanneld.rssKib].map((kib) => (kib / 1024).toFixed(1));
    console.log(
      `kubernetes, 5,000 kubelets every ${everyMs / 1_000} s: ${share.toFixed(2)} % of a core; RSS ${before} → ${after} MiB`,
    );
    expect(flanneld.lines(/^[EW]/)).toEqual([]);
    await cluster.remove("made-1000");
    await flanneld.peers(4_999);
  },
  15 * MINUTE_MS,
);
