// host-gw: the contract of backends on plain IP networks, and what it takes over from Go's.

import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { FAMILIES, type Family } from "../../src/ip/family.ts";
import { backendContract, standing } from "./backend_contract.ts";
import { becomes } from "./becomes.ts";
import { DUAL_STACK, Underlay } from "./nodes.ts";
import { Pod } from "./pod.ts";
import { ROUTE_DRIFTS } from "./route_drifts.ts";
import { PingStream } from "./traffic.ts";

const HOST_GW = { ...DUAL_STACK, Backend: { Type: "host-gw" } };

backendContract({ title: "host-gw", config: HOST_GW, families: FAMILIES, drifts: ROUTE_DRIFTS });

backendContract({
  title: "host-gw, IPv6 alone",
  config: { ...HOST_GW, EnableIPv4: false },
  families: ["ipv6"],
  drifts: [
    { name: "route deleted", damage: (_, peer) => `ip -6 route delete ${peer.subnet("ipv6")}` },
    { name: "all nexthop objects flushed", damage: () => "ip nexthop flush proto 70" },
  ],
});

const subnetOf = (n: number, family: Family) => (family === "ipv4" ? `10.5.${n}.0/24` : `fd00:5:0:${n}::/64`);
const publicIpOf = (n: number, family: Family) => (family === "ipv4" ? `192.168.77.${n}` : `fd00:77::${n}`);
const IP: Record<Family, string> = { ipv4: "ip", ipv6: "ip -6" };

/** A route as Go's host-gw makes it: protocol boot, which is ip's default too. */
const goRoute = (subnet: number, node: number) =>
  FAMILIES.map((family) => `${IP[family]} route add ${subnetOf(subnet, family)} via ${publicIpOf(node, family)}`).join(
    "\n",
  );

/** Not upstream's, for one reason each: the gateway is no node, the length, outside of the network, the protocol, a metric. */
const FOREIGN = `
  ip route add 10.5.200.0/24 via 192.168.77.9
  ip route add 10.5.202.0/25 via 192.168.77.2
  ip route add 10.99.0.0/24 via 192.168.77.2
  ip route add 10.5.203.0/24 via 192.168.77.2 proto static
  ip route add 10.5.204.0/24 via 192.168.77.2 metric 50`;

test("host-gw: takes a node over from Go's without losing a packet: peers' routes are replaced, those that lead wrong go, others' stay", async () => {
  await using underlay = await Underlay.open({ config: HOST_GW });
  const [node, peer] = [underlay.node(1), underlay.node(2)];
  for (const n of [1, 2]) {
    const key = FAMILIES.map((family) => subnetOf(n, family).replace("/", "-")).join("&");
    await underlay.store.put(key, { PublicIP: publicIpOf(n, "ipv4"), PublicIPv6: publicIpOf(n, "ipv6") });
  }
  await peer.flanneld().ready();
  using peerPod = new Pod(underlay, peer);
  mkdirSync(dirname(node.subnetFile), { recursive: true });
  const env =
    "NETWORK=10.5.0.0/16 SUBNET=10.5.1.1/24 IPV6_NETWORK=fd00:5::/48 IPV6_SUBNET=fd00:5:0:1::1/64 MTU=1500 IPMASQ=false";
  writeFileSync(
    node.subnetFile,
    env
      .split(" ")
      .map((line) => `FLANNEL_${line}\n`)
      .join(""),
  );
  node.run(`${goRoute(2, 2)}\n${goRoute(201, 2)}\n${FOREIGN}`); // node 2 once had number 201
  await becomes(() => standing(peer), []); // node 1 has no lease of host-gw's yet, only its reservation
  using pod = new Pod(underlay, node);
  peer.run(goRoute(1, 1));
  for (const family of FAMILIES) await becomes(() => pod.ping(peerPod.address[family]), 3); // neighbours are known
  const streams = await Promise.all(FAMILIES.map((family) => PingStream.start(pod, peerPod.address[family])));
  await node.flanneld().peers(1);
  expect(await Promise.all(streams.map((stream) => stream.stop()))).toEqual([0, 0]);

  const routes = () =>
    node
      .run("ip route; ip -6 route")
      .split("\n")
      .filter((line) => /^(10\.5\.20|10\.99|fd00:5:0:201)/.test(line));
  await becomes(
    () => routes().map((line) => line.trim().replace(" dev eth0", "")),
    [
      "10.5.200.0/24 via 192.168.77.9",
      "10.5.202.0/25 via 192.168.77.2",
      "10.5.203.0/24 via 192.168.77.2 proto static",
      "10.5.204.0/24 via 192.168.77.2 metric 50",
      "10.99.0.0/24 via 192.168.77.2",
    ],
  );
  for (const family of FAMILIES) {
    const route = node.run(`${IP[family]} route show ${subnetOf(2, family)}`).trim();
    expect(route).toMatch(/ nhid \d+ via \S+ dev eth0 proto 70/);
    expect(route.split("\n")).toHaveLength(1);
  }
});
