// containerd runs containers on nodes with flanneld, as `ctr run --cni` does: the bare .conf of upstream's guide and conflists, the built-in delegates and Debian's.

import { afterEach, expect, test } from "bun:test";
import { Cluster, CONFIGURATIONS, GUIDE } from "./cluster.ts";
import { type Container, Containerd } from "./container.ts";
import { expectNodePort, expectPaths } from "./paths.ts";

let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.[Symbol.asyncDispose]();
  cluster = undefined;
});

const UPSTREAM = CONFIGURATIONS["upstream's 10-flannel.conflist"];
const NEWEST = CONFIGURATIONS["one with cniVersions"];

test.each([
  ["10-mynet.conf", GUIDE, "reference", 2],
  ["10-mynet.conf", GUIDE, "built-in", 2],
  ["10-flannel.conflist", UPSTREAM, "built-in", 3],
  ["10-newest.conflist", NEWEST, "built-in", 2],
] as const)(
  "containerd, %s, %j, %s delegates, %d nodes",
  async (file, conf, delegates, nodes) => {
    cluster = await Cluster.open({
      nodes,
      delegates,
      configuration: [file, conf],
      runtime: (machine) => Containerd.start(machine),
    });
    const pods: Container[] = [];
    for (const [i, runtime] of [...cluster.runtimes, cluster.runtime(1)].entries())
      pods.push(await runtime.run(`pod-${i + 1}`));
    expectPaths(cluster, pods);
    expectNodePort(cluster, pods);
    for (const pod of pods) await pod.remove();
    for (const machine of cluster.machines) {
      expect(machine.names("/var/lib/cni/flannel")).toEqual([]);
      expect(machine.names(`/var/lib/cni/networks/${conf.name}`)).toEqual(["last_reserved_ip.0", "lock"]);
      expect(machine.node.run("ip -j link show type veth master cni0")).toBe("[]\n");
    }
  },
  60_000,
);
