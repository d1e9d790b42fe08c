// containerd runs containers on nodes with flanneld, as `ctr run --cni` does: the bare .conf of upstream's guide and conflists, the built-in delegates and Debian's.

import { afterEach, expect, test } from "bun:test";
import { dirname } from "node:path";
import { FLANNELD } from "../e2e/nodes.ts";
import { until } from "../e2e/program.ts";
import { Cluster, CONFIGURATIONS, GUIDE } from "./cluster.ts";
import { addressOf, ask, type Container, Containerd, IMAGE } from "./container.ts";
import { expectNodePort, expectPaths } from "./paths.ts";

let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.[Symbol.asyncDispose]();
  cluster = undefined;
});

const UPSTREAM = CONFIGURATIONS["upstream's 10-flannel.conflist"];
const FILES = {
  "10-mynet.conf": GUIDE,
  "10-flannel.conflist": UPSTREAM,
  "10-newest.conflist": CONFIGURATIONS["one with cniVersions"],
};

test.each([
  ["10-mynet.conf", "reference", 2, false],
  ["10-mynet.conf", "built-in", 2, false],
  ["10-flannel.conflist", "built-in", 3, false],
  ["10-newest.conflist", "built-in", 2, true],
] as const)(
  "containerd, %s, %s delegates, %d nodes, dual stack %p",
  async (file, delegates, nodes, dualStack) => {
    const conf = FILES[file];
    cluster = await Cluster.open({
      nodes,
      delegates,
      configuration: [file, conf],
      dualStack,
      runtime: (machine) => Containerd.start(machine),
    });
    const pods: Container[] = [];
    for (const [i, runtime] of [...cluster.runtimes, cluster.runtime(1)].entries())
      pods.push(await runtime.run(`pod-${i + 1}`));
    expect(pods.map(({ addresses }) => addresses.length)).toEqual(pods.map(() => (dualStack ? 2 : 1)));
    expectPaths(cluster, pods);
    expectNodePort(cluster, pods);
    for (const pod of pods) await pod.remove();
    for (const machine of cluster.machines) {
      await machine.emptied(conf.name);
    }
  },
  60_000,
);

test("a container that was added by Go's plugin is deleted by ours, and the other way round", async () => {
  cluster = await openOne("reference");
  const machine = cluster.machine(1);
  const goes = machine.write("go-flannel", GO_FLANNEL);
  const use = (plugin: string) => machine.run(["ln", "-sf", plugin, "/opt/cni/bin/flannel"]);
  machine.run(["chmod", "755", goes]);

  use(goes);
  const before = await cluster.runtime(1).run("before");
  use(FLANNELD);
  const between = await cluster.runtime(1).run("between");
  expect(ask(before, addressOf(between))).toBe(`between ${addressOf(before)}`);
  expect(ask(between, addressOf(before))).toBe(`before ${addressOf(between)}`);
  await before.remove();
  expect(machine.names("/var/lib/cni/flannel")).toEqual(["default-between"]);
  use(goes);
  await between.remove();
  await machine.emptied("cbr0");
});

test("flannelctl ipam sees what a runtime leaves behind, and frees it", async () => {
  cluster = await openOne("built-in");
  const machine = cluster.machine(1);
  const ipam = (...words: readonly string[]) =>
    machine.tried([`${dirname(FLANNELD)}/flannelctl`, "ipam", ...words, "--older-than=0s", "--own-pid-namespace"]);
  const states = () => {
    type Address = { address: string; containerId: string; state: string };
    const { addresses } = JSON.parse(ipam("ls", "--json").stdout) as { addresses: Address[] };
    return addresses.map(({ address, containerId, state }) => [address, containerId, state]);
  };
  const stays = await cluster.runtime(1).run("stays");
  // Detached, ctr never calls DEL.
  machine.run(["ctr", "run", "--detach", "--snapshotter=native", "--cni", IMAGE, "leaks", "sleep", "600"]);
  const [first, second] = states() as [string[], string[]];
  expect([first, second]).toEqual([
    [addressOf(stays), "default-stays", "used"],
    [expect.any(String) as unknown as string, "default-leaks", "used"],
  ]);
  expect(ipam("check").exitCode).toBe(0);

  machine.run(["ctr", "task", "kill", "--signal=KILL", "leaks"]);
  await until("the end of the task", () => machine.run(["ctr", "task", "list"]).includes("STOPPED"));
  machine.run(["ctr", "task", "delete", "--force", "leaks"]);
  await until("the end of its namespace", () => states()[1]?.[2] === "unknown");
  expect(ipam("ls").stdout).toContain(
    "no namespace has it, but containerd at /run/containerd/containerd.sock knows the container",
  );
  machine.run(["ctr", "container", "delete", "leaks"]);
  expect(states().map(([, , state]) => state)).toEqual(["used", "leaked"]);

  const check = ipam("check");
  expect([check.exitCode, check.stdout]).toEqual([
    1,
    expect.stringMatching(/: 2 of 253 addresses taken: 1 used, 1 leaked, 0 unknown\n/),
  ]);
  const gc = ipam("gc", "--yes");
  expect(gc.stdout).toBe(
    `freed ${second[0]} of cbr0 (container default-leaks, eth0)\nremoved /var/lib/cni/flannel/default-leaks, flannel's state of a container that is gone\n`,
  );
  expect(states()).toEqual([first]);
  await stays.remove();
  await machine.emptied("cbr0");
});

async function openOne(delegates: "built-in" | "reference"): Promise<Cluster> {
  const configuration = ["10-flannel.conflist", UPSTREAM] as const;
  return await Cluster.open({ nodes: 1, delegates, configuration, runtime: (machine) => Containerd.start(machine) });
}

/** What Go's plugin does: the delegate's whole configuration goes into a file named after the container, and to the delegate; DEL reads it back. */
const GO_FLANNEL = `#!/bin/sh -e
state=/var/lib/cni/flannel/$CNI_CONTAINERID
case $CNI_COMMAND in
ADD)
  . /run/flannel/subnet.env
  mkdir -p -m 700 /var/lib/cni/flannel
  network=\${FLANNEL_SUBNET%.*}.0/24
  masq=true; [ "$FLANNEL_IPMASQ" = false ] || masq=false
  printf '{"cniVersion":"0.3.1","hairpinMode":true,"ipMasq":%s,"ipam":{"ranges":[[{"subnet":"%s"}]],"routes":[{"dst":"%s"}],"type":"host-local"},"isDefaultGateway":true,"isGateway":true,"mtu":%s,"name":"cbr0","type":"bridge"}' \
    $masq "$network" "$FLANNEL_NETWORK" "$FLANNEL_MTU" > $state
  exec /usr/lib/cni/bridge < $state ;;
DEL)
  [ -e $state ] || exit 0
  /usr/lib/cni/bridge < $state
  rm $state ;;
esac
`;
