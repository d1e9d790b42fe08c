// A cluster whose nodes change from Go flannel to ours and back, one by one, while pods talk: what docs/switching.md has an operator do. The Go program is given
// by FLANNEL_GO (go_flannel.ts); without it ours stands in for it, released all the same, and what Go's client asks is replayed (test/kubernetes/recorded.test.ts).

import { expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { FAMILIES } from "../../src/ip/family.ts";
import { becomes } from "./becomes.ts";
import { GO_FLANNELS, startGoOnKubernetes } from "./go_flannel.ts";
import { DUAL_STACK, FLANNELD, type Node, Underlay } from "./nodes.ts";
import { Pod } from "./pod.ts";
import type { Program } from "./program.ts";
import { PingStream } from "./traffic.ts";

const TEST_MS = 180_000;
const FLANNELCTL = join(dirname(FLANNELD), "flannelctl");
const PREFIX = "flannel.alpha.coreos.com/";

type Replace = (node: Node) => Promise<Program>;

async function allReach(pods: readonly Pod[]): Promise<void> {
  for (const [i, from] of pods.entries()) {
    for (const [j, to] of pods.entries()) {
      if (i === j) continue;
      for (const family of FAMILIES) await becomes(async () => [i, j, await from.ping(to.address[family])], [i, j, 3]);
    }
  }
}

const OURS = { title: "our flannel" } as const;
const GO = GO_FLANNELS.filter(({ dualStack }) => dualStack);

for (const other of GO.length > 0 ? GO : [OURS]) {
  test.each([["vxlan"], ["host-gw"]])(
    `a cluster of ${other.title}'s nodes, %s: each becomes ours and is then given back, and no packet is lost`,
    async (type) => {
      const config = { ...DUAL_STACK, Backend: { Type: type } };
      await using underlay = await Underlay.open({ nodes: 4, config, kubernetes: {} });
      const nodes = underlay.nodes.slice(0, 3);
      const joins = underlay.node(4);
      const ours: Replace = (node) => node.flanneld().ready();
      const theirs: Replace = (node) =>
        "executable" in other ? startGoOnKubernetes(other, underlay, node) : ours(node);
      const daemons = new Map<Node, Program>();
      for (const node of nodes) daemons.set(node, await theirs(node));
      using disposables = new DisposableStack();
      const pods = nodes.map((node) => disposables.use(new Pod(underlay, node)));
      await allReach(pods);
      const annotations = async (node: Node) =>
        Object.entries((await underlay.kube.cluster.node(`node${node.n}`)).metadata.annotations ?? {})
          .filter(([name]) => name.startsWith(PREFIX))
          .sort();
      const before = await Promise.all(nodes.map(annotations));

      for (const replace of [ours, theirs]) {
        for (const [i, node] of nodes.entries()) {
          const pod = pods[i] as Pod;
          const [next, last] = [pods[(i + 1) % 3], pods[(i + 2) % 3]] as [Pod, Pod];
          const streams = await Promise.all([
            PingStream.start(pod, next.address.ipv4),
            PingStream.start(last, pod.address.ipv6),
          ]);
          await daemons.get(node)?.stop();
          if (replace === theirs) {
            const released = await node.finished([
              FLANNELCTL,
              ...["release", "--plain", "--", `--subnet-file=${node.subnetFile}`],
            ]);
            expect(released).toEqual({ code: 0, output: expect.stringContaining("proto boot") });
          }
          daemons.set(node, await replace(node));
          expect(await Promise.all(streams.map((stream) => stream.stop()))).toEqual(streams.map(() => 0));
          await allReach(pods);
        }
        expect(await Promise.all(nodes.map(annotations))).toEqual(before);
      }

      // All are given back; one of ours joins, and leaves.
      const subnets = (n: number) => [...underlay.kube.subnets(20 + n)];
      const peers = (node: Node) =>
        [...node.run("ip route show; ip -6 route show").matchAll(/^((?:10\.5\.|fd00:5:)\S*\/\d+) .*via /gm)]
          .map(([, dst]) => dst)
          .sort();
      const newcomer = await ours(joins);
      for (const node of nodes) {
        const others = [...nodes, joins].filter((each) => each !== node).flatMap(({ n }) => subnets(n));
        await becomes(() => peers(node), others.sort());
      }
      await allReach([...pods, disposables.use(new Pod(underlay, joins))]);
      await newcomer.stop();
      await underlay.kube.cluster.remove("node4");
      for (const node of nodes) {
        const others = nodes.filter((each) => each !== node).flatMap(({ n }) => subnets(n));
        await becomes(() => peers(node), others.sort());
      }
    },
    TEST_MS,
  );
}
