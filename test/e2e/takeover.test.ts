// flanneld takes over what another flannel left or still serves: devices, routes, neighbours and FDB entries made the way the Go program makes them,
// with traffic on them.

import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { FAMILIES, type Family } from "../../src/ip/family.ts";
import { becomes } from "./becomes.ts";
import { DUAL_STACK, type Node, Underlay } from "./nodes.ts";
import { peerLease } from "./store.ts";
import { PingStream } from "./traffic.ts";

const DEVICE: Record<Family, string> = { ipv4: "flannel.1", ipv6: "flannel-v6.1" };
const macOf = (n: number, family: Family) => `0e:00:00:00:0${family === "ipv4" ? 4 : 6}:0${n}`;
const subnetOf = (n: number, family: Family) => (family === "ipv4" ? `10.5.${n}.0/24` : `fd00:5:0:${n}::/64`);
const baseOf = (n: number, family: Family) => subnetOf(n, family).replace(/\/.*/, "");

/** The devices of node n as the Go program makes them. */
function makeDevices(node: Node): void {
  for (const family of FAMILIES) {
    const dev = DEVICE[family];
    node.run(`
      ip link add ${dev} address ${macOf(node.n, family)} mtu ${family === "ipv4" ? 1450 : 1430} \
        type vxlan id 1 dev eth0 local ${node.address[family]} dstport 8472 nolearning
      ${family === "ipv6" ? `echo 0 > /proc/sys/net/ipv6/conf/${dev}/accept_ra` : ""}
      ip address add ${baseOf(node.n, family)}/${family === "ipv4" ? "32" : "128 nodad"} dev ${dev}
      ip link set ${dev} up`);
  }
}

/** What the Go program makes for a peer; ip's routes have protocol boot, as its library's have. */
function makePeer(node: Node, peer: number): void {
  for (const family of FAMILIES) {
    const [dev, base, mac] = [DEVICE[family], baseOf(peer, family), macOf(peer, family)];
    const publicIp = family === "ipv4" ? `192.168.77.${peer}` : `fd00:77::${peer}`;
    node.run(`
      ip neighbour add ${base} lladdr ${mac} dev ${dev} nud permanent
      bridge fdb add ${mac} dev ${dev} dst ${publicIp} self permanent
      ip ${family === "ipv6" ? "-6" : ""} route add ${subnetOf(peer, family)} via ${base} dev ${dev} onlink`);
  }
}

function goLease(n: number) {
  return {
    key: `10.5.${n}.0-24&fd00:5:0:${n}::-64`,
    value: {
      PublicIP: `192.168.77.${n}`,
      PublicIPv6: `fd00:77::${n}`,
      BackendType: "vxlan",
      BackendData: { VNI: 1, VtepMAC: macOf(n, "ipv4") },
      BackendV6Data: { VNI: 1, VtepMAC: macOf(n, "ipv6") },
    },
  };
}

/** Routes by somebody else: on our device but outside the network, inside the network but not on our device, on our device but by another protocol. */
const FOREIGN = `
  ip route add 10.99.0.0/16 via 192.168.77.9
  ip route add 172.16.0.0/16 dev flannel.1
  ip route add 10.5.200.0/24 via 192.168.77.9
  ip route add 10.5.201.0/24 via 10.5.201.0 dev flannel.1 onlink proto static
  ip -6 route add fd00:99::/48 via fd00:77::9`;

function foreignRoutes(node: Node): string[] {
  const routes = `${node.run("ip route; ip -6 route")}`.split("\n");
  return routes.filter((line) => /^(10\.99|172\.16|10\.5\.20\d|fd00:99)/.test(line)).map((line) => line.trim());
}

const knownBy: [string, (underlay: Underlay) => Promise<void>][] = [
  ["its lease in the store", async ({ store }) => await store.put(goLease(1).key, goLease(1).value, 86_400_000)],
  ["subnet.env and its device alone", async (underlay) => writeSubnetEnv(underlay.node(1))],
];
test.each(knownBy)("flanneld: takes a node over without losing a packet, known by %s", async (_title, remember) => {
  await using underlay = await Underlay.open({ config: DUAL_STACK });
  const [node, peer] = [underlay.node(1), underlay.node(2)];
  for (const each of underlay.nodes) makeDevices(each);
  makePeer(node, 2);
  makePeer(peer, 1);
  makePeer(node, 9); // in no store
  node.run(FOREIGN);
  await underlay.store.put(goLease(2).key, goLease(2).value);
  await remember(underlay);
  const [links, foreign] = [Object.values(DEVICE).map((name) => node.link(name)), foreignRoutes(node)];
  expect(foreign).toHaveLength(5);

  const streams = await Promise.all(FAMILIES.map((family) => PingStream.start(node, baseOf(2, family))));
  await node.flanneld({ flags: ["--ip-masq=false"] }).peers(1);
  expect(await Promise.all(streams.map((stream) => stream.stop()))).toEqual([0, 0]);

  expect(Object.values(DEVICE).map((name) => node.link(name))).toEqual(links);
  expect(node.subnetEnv).toMatchObject({ FLANNEL_SUBNET: "10.5.1.1/24", FLANNEL_IPV6_SUBNET: "fd00:5:0:1::1/64" });
  await becomes(() => left(node, 9), []);
  for (const family of FAMILIES) {
    const route = node.run(`ip ${family === "ipv6" ? "-6" : ""} route show ${subnetOf(2, family)}`);
    expect(route).toMatch(/ nhid \d+ via \S+ dev \S+ proto 70 /);
  }
  expect(foreignRoutes(node)).toEqual(foreign);
});

function writeSubnetEnv(node: Node): void {
  mkdirSync(dirname(node.subnetFile), { recursive: true });
  const lines = [
    "NETWORK=10.5.0.0/16",
    "SUBNET=10.5.1.1/24",
    "IPV6_NETWORK=fd00:5::/48",
    "IPV6_SUBNET=fd00:5:0:1::1/64",
  ];
  writeFileSync(
    node.subnetFile,
    [...lines, "MTU=1430", "IPMASQ=true", ""].map((line) => line && `FLANNEL_${line}`).join("\n"),
  );
}

/** What is still there of a peer that has no lease. */
function left(node: Node, peer: number): string[] {
  const traces = [...FAMILIES.flatMap((family) => [baseOf(peer, family), macOf(peer, family)])];
  return node.objects().filter((line) => traces.some((trace) => line.includes(trace)));
}

const fits: [string, string, "kept" | "made anew"][] = [
  ["another MTU", "mtu 1400 type vxlan id 1 dev eth0 local 192.168.77.1 dstport 8472 nolearning", "kept"],
  ["learning on", "type vxlan id 1 dev eth0 local 192.168.77.1 dstport 8472 learning", "kept"],
  ["another port", "type vxlan id 1 dev eth0 local 192.168.77.1 dstport 4789 nolearning", "made anew"],
  ["another VNI", "type vxlan id 2 dev eth0 local 192.168.77.1 dstport 8472 nolearning", "made anew"],
  ["another local address", "type vxlan id 1 dev eth0 local 192.168.77.9 dstport 8472 nolearning", "made anew"],
  ["no parent", "type vxlan id 1 local 192.168.77.1 dstport 8472 nolearning", "made anew"],
  ["a multicast group", "type vxlan id 1 dev eth0 group 239.1.1.1 dstport 8472 nolearning", "made anew"],
  ["l2miss", "type vxlan id 1 dev eth0 local 192.168.77.1 dstport 8472 nolearning l2miss", "made anew"],
  ["gbp", "type vxlan id 1 dev eth0 local 192.168.77.1 dstport 8472 nolearning gbp", "made anew"],
];
test.each(fits)("flanneld: a flannel.1 with %s", async (_title, options, outcome) => {
  await using underlay = await Underlay.open({ nodes: 1 });
  const node = underlay.node(1);
  const { key, value } = peerLease(2);
  await underlay.store.put(key, value);
  node.run(`ip link add flannel.1 address 0e:00:00:00:04:01 ${options}; ip link set flannel.1 up`);
  const before = node.link();
  await node.flanneld().ready();
  await becomes(
    () => node.objects(),
    [
      `address ${node.overlay()}/32 dev flannel.1`,
      "fdb 02:00:00:00:00:02 dev flannel.1 dst 192.168.77.2",
      "ip link add flannel.1 address 0e:00:00:00:04:01 mtu 1450 type vxlan id 1 dev eth0 local 192.168.77.1 dstport 8472 nolearning",
      "link flannel.1 up",
      "neighbour 10.5.2.0 lladdr 02:00:00:00:00:02 dev flannel.1",
      "nexthop via 10.5.2.0 dev flannel.1 onlink",
      "route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink",
    ],
  );
  expect(node.link()?.index === before?.index ? "kept" : "made anew").toBe(outcome);
});
