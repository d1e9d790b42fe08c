// Podman (its CNI backend) runs containers on nodes with flanneld, through the plugin flannel: with the built-in delegates, and with Debian's.

import { afterEach, expect, test } from "bun:test";
import { Cluster, CONFIGURATIONS } from "./cluster.ts";
import { ask, askFrom, type Container, Podman } from "./container.ts";
import { expectNodePort, expectPaths } from "./paths.ts";

let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.[Symbol.asyncDispose]();
  cluster = undefined;
});

type Form = keyof typeof CONFIGURATIONS;

async function open(form: Form, delegates: "built-in" | "reference", nodes = 2): Promise<Cluster> {
  const configuration = ["10-flannel.conflist", CONFIGURATIONS[form]] as const;
  cluster = await Cluster.open({ nodes, delegates, configuration, runtime: async (machine) => new Podman(machine) });
  return cluster;
}

/** One on each node, and a second one on the first. */
async function run(cluster: Cluster, form: Form, published: Readonly<Record<string, string>> = {}) {
  const network = CONFIGURATIONS[form].name;
  const pods: Container[] = [];
  for (const [i, runtime] of [...cluster.runtimes, cluster.runtime(1)].entries()) {
    const name = `pod-${i + 1}`;
    const publish = published[name];
    pods.push(await runtime.run(name, { network, ...(publish !== undefined && { publish: [publish] }) }));
  }
  return pods;
}

test.each([
  ["the guide's", "built-in", 2],
  ["upstream's 10-flannel.conflist", "reference", 2],
  ["upstream's 10-flannel.conflist", "built-in", 3],
  ["one with cniVersions", "built-in", 2],
] as const)(
  "podman, %s configuration, %s delegates, %d nodes",
  async (form, delegates, nodes) => {
    const cluster = await open(form, delegates, nodes);
    const hasPorts = form !== "the guide's";
    const pods = await run(cluster, form, hasPorts ? { "pod-1": "8081:80" } : {});
    expectPaths(cluster, pods);
    expectNodePort(cluster, pods);
    if (hasPorts) {
      // hostPort → pod: from outside, from another node, from another pod, from the pod's own node.
      const { ipv4 } = cluster.machine(1).node.address;
      const through = [
        cluster.askFromOutside(ipv4, 8081),
        askFrom(cluster.machine(2), ipv4, 8081),
        askFrom(cluster.machine(1), "127.0.0.1", 8081),
        ...pods.map((pod) => ask(pod, ipv4, 8081)),
      ];
      expect(through.map((answer) => answer.split(" ")[0])).toEqual(through.map(() => "pod-1"));
      // Its source stays what it was, from outside.
      expect(through[0]).toBe(`pod-1 ${cluster.outside.address.ipv4}`);
    }
    for (const pod of pods) await pod.remove();
    for (const machine of cluster.machines) {
      await machine.emptied(CONFIGURATIONS[form].name);
      expect(machine.node.run("iptables-save -t nat; nft list ruleset")).not.toContain("8081");
    }
  },
  60_000,
);
