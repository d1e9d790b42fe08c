// What flanneld follows of its host while it runs: routes that say who is on link, MTU and addresses of the external interface. A router stands at the
// nodes' default gateways, so that a peer taken off link by a route is still reached.

import { expect, test } from "bun:test";
import { FAMILIES } from "../../src/ip/family.ts";
import { PodNetwork, standing } from "./backend_contract.ts";
import { becomes } from "./becomes.ts";
import { DUAL_STACK, type Node, Underlay } from "./nodes.ts";
import { leaseKey } from "./store.ts";
import { PingStream } from "./traffic.ts";

const DIRECT = { ...DUAL_STACK, Backend: { Type: "vxlan", DirectRouting: true } };
const HOST_GW = { ...DUAL_STACK, Backend: { Type: "host-gw" } };
const TEST_MS = 120_000;

/** By which device each peer is reached, and how many FDB entries there are. */
function ways(node: Node, peers: readonly Node[]): string[] {
  const device = (peer: Node, option: string, subnet: string) =>
    `${peer.n}: ${/ dev (\S+)/.exec(node.run(`ip ${option} route show ${subnet}`))?.[1]}`;
  const fdb = standing(node).filter((line) => line.includes(" dst ")).length;
  return [
    ...peers.map((peer) => device(peer, "-4", peer.subnet("ipv4"))),
    ...peers.map((peer) => device(peer, "-6", peer.subnet("ipv6"))),
    `${fdb} FDB entries`,
  ];
}

const offLink = (verb: "add" | "delete", peer: Node) => `
  ip route ${verb} ${peer.address.ipv4}/32 via 192.168.77.254
  ip -6 route ${verb} ${peer.address.ipv6}/128 via fd00:77::fe`;

test(
  "DirectRouting: each peer by what the routes say of it, followed when a route changes alone, and removed as it was made",
  async () => {
    await using network = await PodNetwork.open({ config: DIRECT, families: FAMILIES, router: true });
    const [node, far, near] = network.nodes;
    if (!node || !far || !near) throw new RangeError("There are three nodes");
    await network.allReach();
    const direct = ["2: eth0", "3: eth0", "2: eth0", "3: eth0", "0 FDB entries"];
    const apart = ["2: flannel.1", "3: eth0", "2: flannel-v6.1", "3: eth0", "2 FDB entries"];
    expect(ways(node, [far, near])).toEqual(direct);
    const before = standing(node);

    const streams = await Promise.all(
      FAMILIES.map((family) => PingStream.start(network.pod(node), network.pod(far).address[family])),
    );
    for (let turn = 0; turn < 3; turn++) {
      node.run(offLink("add", far));
      await becomes(() => ways(node, [far, near]), apart);
      node.run(offLink("delete", far));
      await becomes(() => standing(node), before);
    }
    // Neighbour and FDB entry stand before the route is replaced, and go after it.
    expect(await Promise.all(streams.map((stream) => stream.stop()))).toEqual(streams.map(() => 0));

    // Made direct and removed while it would be vxlan, and the other way round: nothing is left.
    node.run(offLink("add", far));
    await becomes(() => ways(node, [far, near]), apart);
    const subnets = [far.subnet("ipv4"), far.subnet("ipv6")];
    const leave = async (peer: Node) => {
      await network.flanneld(peer).stop();
      const key = (await network.underlay.store.keys()).find((each) => each.startsWith(leaseKey(peer.subnet())));
      await network.underlay.store.remove(key ?? "");
    };
    await leave(far);
    await becomes(() => standing(node).filter((line) => subnets.some((subnet) => line.includes(subnet))), []);
    await becomes(() => standing(node).filter((line) => / dst |lladdr/.test(line)), []);
    node.run(`${offLink("delete", far)}\n${offLink("add", near)}`);
    await leave(near);
    await becomes(() => standing(node).filter((line) => / via /.test(line)), []);
  },
  TEST_MS,
);

test(
  "host-gw: a peer that a router stands before is refused by a line that says what to do, and taken once it is on link",
  async () => {
    await using network = await PodNetwork.open({ config: HOST_GW, families: FAMILIES, router: true }, 2, 2);
    const [node, peer] = network.nodes;
    if (!node || !peer) throw new RangeError("There are two nodes");
    await network.allReach();
    const before = standing(node);
    const flanneld = network.flanneld(node);

    node.run(offLink("add", peer));
    await becomes(() => standing(node), []);
    await flanneld.says(
      /W\d.* refusing the lease \S+: its public IP 192\.168\.77\.2 is not on link at eth0 \(192\.168\.77\.1\), .*: use the vxlan backend .*DirectRouting/,
    );
    expect(flanneld.lines(/refusing the lease/)).toHaveLength(1);
    await becomes(() => [flanneld.status?.phase, flanneld.status?.refused], ["ready", 1]);

    node.run(offLink("delete", peer));
    await becomes(() => standing(node), before);
    await network.allReach();
  },
  TEST_MS,
);

const mtus: [string, object, number, number][] = [
  ["vxlan", DUAL_STACK, 1330, 1430],
  ["host-gw", HOST_GW, 1400, 1500],
];
test.each(mtus)(
  "%s: the external interface's MTU is followed, in FLANNEL_MTU and on the devices",
  async (_title, config, low, high) => {
    await using underlay = await Underlay.open({ nodes: 1, config });
    const node = underlay.node(1);
    const flanneld = await node.flanneld().ready();
    const seen = () => [
      node.subnetEnv.FLANNEL_MTU,
      flanneld.status?.mtu,
      node.link("flannel.1")?.mtu,
      node.link("flannel-v6.1")?.mtu,
    ];
    const expected = (mtu: number) => [
      `${mtu}`,
      mtu,
      ...(config === HOST_GW ? [undefined, undefined] : [mtu + 20, mtu]),
    ];
    await becomes(seen, expected(high));
    const before = [node.subnet(), node.link()?.mac, await underlay.store.keys()];
    node.run("ip link set eth0 mtu 1400");
    await becomes(seen, expected(low));
    node.run("ip link set eth0 mtu 1500");
    await becomes(seen, expected(high));
    expect([node.subnet(), node.link()?.mac, await underlay.store.keys()]).toEqual(before);
    expect(flanneld.lines(/^[EW]/)).toEqual([]);
  },
);

test.each([
  ["vxlan", DUAL_STACK],
  ["host-gw", HOST_GW],
])(
  "%s: another address of the external interface goes into the lease where it stands, and devices follow it",
  async (title, config) => {
    await using underlay = await Underlay.open({ nodes: 1, config });
    const node = underlay.node(1);
    const flanneld = await node.flanneld().ready();
    const { MAC } = { MAC: node.link()?.mac };
    const [key = ""] = await underlay.store.keys();
    node.run(`
    sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1
    ip address add 192.168.77.99/24 dev eth0; ip address delete 192.168.77.1/24 dev eth0
    ip address add fd00:77::99/64 dev eth0 nodad; ip address delete fd00:77::1/64 dev eth0
    ip route replace default via 192.168.77.254; ip -6 route replace default via fd00:77::fe`);
    const lease = async () => JSON.parse((await underlay.store.entry(key)).value);
    await becomes(async () => [(await lease()).PublicIP, (await lease()).PublicIPv6], ["192.168.77.99", "fd00:77::99"]);
    const locals = () =>
      standing(node)
        .map((line) => / local (\S+)/.exec(line)?.[1])
        .filter((each) => each !== undefined)
        .sort();
    await becomes(locals, title === "vxlan" ? ["192.168.77.99", "fd00:77::99"] : []);
    await becomes(() => flanneld.status?.phase, "ready");
    expect(node.link()?.mac).toBe(MAC);
    expect(leaseKey(node.subnet())).toBe(key.split("&")[0] ?? "");
    expect(await underlay.store.keys()).toEqual([key]);
  },
);

test("host-gw: a public IP that is not the interface's address ends it with what is wanted, and nothing is made", async () => {
  await using underlay = await Underlay.open({ nodes: 1, config: HOST_GW });
  const node = underlay.node(1);
  const flanneld = node.flanneld({ flags: ["--public-ip=203.0.113.7", "--public-ipv6=2001:db8::7"] });
  expect(await flanneld.exit()).toBe(1);
  expect(flanneld.output).toContain(
    "--public-ip: got 203.0.113.7, want 192.168.77.1, the address of eth0: peers route to it by host-gw",
  );
  expect(flanneld.output).toContain("--public-ipv6: got 2001:db8::7, want fd00:77::1, the address of eth0");
  expect([standing(node), await underlay.store.keys()]).toEqual([[], []]);
});

test("host-gw: a first start that fails takes away what it made; one over a data plane that stands takes nothing", async () => {
  await using underlay = await Underlay.open({ nodes: 2, config: HOST_GW });
  const [node, peer] = [underlay.node(1), underlay.node(2)];
  await peer.flanneld().ready();
  // A tool that fails at every change: rules do not come about, and without them flanneld is not ready.
  node.run(`mkdir -p ${underlay.directory}/bin; cd ${underlay.directory}/bin
    for tool in iptables-restore ip6tables-restore; do printf '#!/bin/sh\\necho no >&2\\nexit 1\\n' > $tool; chmod +x $tool; done`);
  const environment = { PATH: `${underlay.directory}/bin:${process.env.PATH}` };
  const first = node.flanneld({ environment });
  expect(await first.exit()).toBe(1);
  expect(standing(node)).toEqual([]);

  await (await node.flanneld().peers(1)).stop();
  const before = standing(node);
  expect(before).not.toEqual([]);
  node.run("iptables -F FLANNEL-FWD; ip6tables -F FLANNEL-FWD");
  const failing = node.flanneld({ environment });
  await failing.says(/E\d.*iptables/);
  await Bun.sleep(1_500);
  expect([failing.isAlive, standing(node)]).toEqual([true, before]);
  expect(await failing.stop()).toBe(0);
  expect(standing(node)).toEqual(before);

  // Go's data plane, too, is one that stands.
  node.run(`ip nexthop flush proto 70; ip route add ${peer.subnet()} via ${peer.address.ipv4}`);
  const taking = node.flanneld({ environment });
  await taking.says(/E\d.*iptables/);
  await Bun.sleep(1_500);
  expect([taking.isAlive, standing(node)]).toEqual([true, before]);
});
