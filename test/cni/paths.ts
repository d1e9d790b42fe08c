// Every way that a pod of flannel's has to be reached on, whatever runs it.

import { expect } from "bun:test";
import { addNodePort, type Cluster } from "./cluster.ts";
import { ask, askFrom, type Container } from "./container.ts";

/** `pods`: at least one on each node, in the order of the nodes. */
export function expectPaths(cluster: Cluster, pods: readonly Container[]): void {
  for (const pod of pods) {
    // Pod → pod, on every node, and seen as itself.
    for (const other of pods) {
      const answers = other.addresses.map((address) => ask(pod, address));
      expect([pod.name, answers]).toEqual([pod.name, pod.addresses.map((own) => `${other.name} ${own}`)]);
    }
    for (const machine of cluster.machines) {
      const { node } = machine;
      // Pod → node: its own and the others, on their own addresses and on the network's.
      const v6 = pod.addresses.length > 1 ? [node.address.ipv6, node.overlay("ipv6")] : [];
      for (const target of [node.address.ipv4, node.overlay(), ...v6]) {
        const output = pod.exec(["ping", "-c", "1", "-W", "3", target]);
        expect([pod.name, target, / 0% packet loss/.test(output)]).toEqual([pod.name, target, true]);
      }
      // Node → pod.
      const answers = pod.addresses.map((address) => askFrom(machine, address).split(" ")[0]);
      expect(answers).toEqual(pod.addresses.map(() => pod.name));
    }
    // Pod → outside, as its node.
    const { ipv4, ipv6 } = pod.machine.node.address;
    expect(cluster.askOutside(pod)).toEqual(
      pod.addresses.map((own) => (own.startsWith("[") ? `outside [${ipv6}]` : `outside ${ipv4}`)),
    );
  }
}

/** A port of every node leads to pods on all nodes, and each of them answers. */
export function expectNodePort(cluster: Cluster, pods: readonly Container[]): void {
  const port = 30080;
  for (const machine of cluster.machines) {
    addNodePort(machine, port, pods);
    const answers = pods.map(() => cluster.askFromOutside(machine.node.address.ipv4, port).split(" ")[0]);
    expect(answers.toSorted()).toEqual(pods.map(({ name }) => name).toSorted());
  }
}
