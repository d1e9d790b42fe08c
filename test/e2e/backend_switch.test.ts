// A network that goes from one backend to another by a changed configuration and a restart of the daemons: what the old one made is gone, the pods keep their
// addresses, and what is lost is what passes between two nodes that have not both changed.

import { expect, test } from "bun:test";
import { FAMILIES } from "../../src/ip/family.ts";
import { PodNetwork, standing } from "./backend_contract.ts";
import { becomes } from "./becomes.ts";
import { DUAL_STACK, type Node } from "./nodes.ts";

const network = (Backend: object) => ({ ...DUAL_STACK, Backend });
const VXLAN = network({ Type: "vxlan" });
const HOST_GW = network({ Type: "host-gw" });
const DIRECT = network({ Type: "vxlan", DirectRouting: true });
const OTHER_VNI = network({ Type: "vxlan", VNI: 7 });

/** Of a stream, a packet a millisecond at most: what passes while one daemon has changed and another has not. A way that does not come back loses all. */
const LOST_AT_MOST = 5_000;

/** What kinds of things stand: devices, and by which each route leads. */
function shape(node: Node): string[] {
  const lines = standing(node);
  const devices = lines.map((line) => /^(flannel\S*): </.exec(line)?.[1]).filter((each) => each !== undefined);
  const routes = lines
    .map((line) => /^\S+\/\d+ via \S+ dev (\S+)/.exec(line)?.[1])
    .filter((each) => each !== undefined);
  const hops = lines.map((line) => /^via \S+ dev (\S+)/.exec(line)?.[1]).filter((each) => each !== undefined);
  const entries = lines.filter((line) => /lladdr| dst /.test(line)).length;
  return [
    `devices ${devices.join(" ")}`,
    `routes ${routes.sort().join(" ")}`,
    `nexthops ${hops.sort().join(" ")}`,
    `neighbours and FDB entries ${entries}`,
  ];
}

const overVxlan = (v4: string, v6: string) => {
  const hops = `${v6} ${v6} ${v4} ${v4}`;
  return [`devices ${v6} ${v4}`, `routes ${hops}`, `nexthops ${hops}`, "neighbours and FDB entries 8"];
};
const plain = (devices: string) => [
  `devices ${devices}`,
  "routes eth0 eth0 eth0 eth0",
  "nexthops eth0 eth0 eth0 eth0",
  "neighbours and FDB entries 0",
];

const turns: readonly (readonly [string, object, readonly string[]])[] = [
  ["host-gw", HOST_GW, plain("")],
  ["vxlan with DirectRouting", DIRECT, plain("flannel-v6.1 flannel.1")],
  ["vxlan", VXLAN, overVxlan("flannel.1", "flannel-v6.1")],
  ["vxlan with another VNI", OTHER_VNI, overVxlan("flannel.7", "flannel-v6.7")],
  ["host-gw", HOST_GW, plain("")],
];

test("a network changes its backend by restarts, again and again: nothing of the old one is left, and subnets stay", async () => {
  await using network = await PodNetwork.open({ config: VXLAN, families: FAMILIES });
  await network.allReach();
  for (const node of network.nodes) expect(shape(node)).toEqual(overVxlan("flannel.1", "flannel-v6.1"));
  const subnets = network.nodes.map((node) => [node.subnet("ipv4"), node.subnet("ipv6")]);
  const keys = await network.underlay.store.keys();
  for (const [name, config, expected] of turns) {
    const streams = await network.streams();
    await network.underlay.store.configure(config);
    await Promise.all(
      network.nodes.map(async (node) => {
        await network.flanneld(node).stop();
        await network.start(node);
      }),
    );
    for (const node of network.nodes) await becomes(() => [name, ...shape(node)], [name, ...expected], 20_000);
    const lost = await Promise.all(streams.map((stream) => stream.stop()));
    console.log(`to ${name}: of six streams of a thousand packets a second, lost ${lost.join(", ")}`);
    expect(lost.filter((count) => count > LOST_AT_MOST)).toEqual([]);
    await network.allReach();
    expect(network.nodes.map((node) => [node.subnet("ipv4"), node.subnet("ipv6")])).toEqual(subnets);
    expect(await network.underlay.store.keys()).toEqual(keys);
    for (const node of network.nodes) expect(network.flanneld(node).lines(/^E/)).toEqual([]);
  }
}, 180_000);
