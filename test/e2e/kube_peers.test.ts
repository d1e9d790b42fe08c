// What changes in Kubernetes while flanneld runs: of a peer, and of the node itself.

import { expect, test } from "bun:test";
import type { KubeCluster } from "../kubernetes/cluster.ts";
import { flannelAnnotations, madeMac, madeNode, madePublicIp } from "../kubernetes/made_nodes.ts";
import { becomes } from "./becomes.ts";
import { DUAL_STACK, type KubernetesUnderlay, NETWORK, type Node, Underlay, type UnderlayOptions } from "./nodes.ts";
import { until } from "./program.ts";
import { PingStream } from "./traffic.ts";

const TEST_MS = 60_000;
const NOTICE_MS = 30_000;
const P = "flannel.alpha.coreos.com/";

async function open(options: UnderlayOptions = {}, kubernetes: KubernetesUnderlay = {}) {
  const underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], config: NETWORK, kubernetes, ...options });
  return { underlay, node: underlay.node(1), kube: underlay.kube.cluster };
}

const peerObjects = (node: Node) => node.objects().filter((line) => /^(fdb|neighbour|nexthop|route) /.test(line));

interface Peer {
  readonly n: number;
  readonly publicIp?: string;
  readonly mac?: string;
  readonly subnet?: string;
}

/** All that a node has for these peers. */
function objectsOf(...peers: readonly Peer[]): string[] {
  const lines = peers.flatMap(({ n, publicIp = madePublicIp(n), mac = madeMac(n), subnet = `10.5.${n}.0/24` }) => {
    const gateway = subnet.replace("/24", "");
    return [
      `fdb ${mac} dev flannel.1 dst ${publicIp}`,
      `neighbour ${gateway} lladdr ${mac} dev flannel.1`,
      `nexthop via ${gateway} dev flannel.1 onlink`,
      `route ${subnet} via ${gateway} dev flannel.1 onlink`,
    ];
  });
  return lines.sort();
}

const A = { n: 101 };
const B = { n: 102 };
const NAME = "made-101";
const MAC = "02:00:00:00:55:55";

interface Change {
  readonly annotations: Readonly<Record<string, string | null>>;
  /** What is left of peer A. */
  readonly becomes: readonly Peer[];
  /** Why it is refused. */
  readonly told?: RegExp;
}

const changes: [string, Change][] = [
  ["its public IP", { annotations: { "public-ip": "192.168.77.99" }, becomes: [{ ...A, publicIp: "192.168.77.99" }] }],
  [
    "its MAC, and nothing is left of the old one",
    { annotations: { "backend-data": JSON.stringify({ VNI: 1, VtepMAC: MAC }) }, becomes: [{ ...A, mac: MAC }] },
  ],
  ["an operator takes it out", { annotations: { "kube-subnet-manager": "false" }, becomes: [] }],
  [
    "its annotations are removed",
    {
      annotations: { "kube-subnet-manager": null, "backend-type": null, "backend-data": null, "public-ip": null },
      becomes: [],
    },
  ],
  [
    "its public IP is rubbish",
    { annotations: { "public-ip": "nope" }, becomes: [], told: /node made-101.*annotation public-ip is "nope"/ },
  ],
  [
    "it has another backend",
    { annotations: { "backend-type": "host-gw" }, becomes: [], told: /10\.5\.101\.0-24.*host-gw/ },
  ],
  ["its data are rubbish", { annotations: { "backend-data": '"wat"' }, becomes: [], told: /10\.5\.101\.0-24.*wat/ }],
  [
    "its data are no JSON",
    { annotations: { "backend-data": "{" }, becomes: [], told: /node made-101.*backend-data is no JSON/ },
  ],
];
test(
  "a peer changes, and changes back: the kernel has what it says, nothing else, and no other peer is touched",
  async () => {
    const { underlay, node, kube } = await open();
    await using _ = underlay;
    for (const { n } of [A, B]) await kube.create(madeNode(n));
    const flanneld = await node.flanneld().peers(2);
    await becomes(() => peerObjects(node), objectsOf(A, B));
    for (const [title, { annotations, becomes: wanted, told }] of changes) {
      const full = Object.fromEntries(Object.entries(annotations).map(([name, text]) => [`${P}${name}`, text]));
      await kube.annotate(NAME, full);
      await becomes(() => [title, peerObjects(node)], [title, objectsOf(...wanted, B)]);
      if (told) await flanneld.says(told);
      await kube.annotate(NAME, flannelAnnotations(A.n));
      await becomes(() => [title, peerObjects(node)], [title, objectsOf(A, B)]);
    }
    await kube.annotate(NAME, { [`${P}kube-subnet-manager`]: null });
    await becomes(() => peerObjects(node), objectsOf(B));
    await kube.remove(NAME); // a Node that was no longer flannel's
    await kube.remove("made-102");
    await becomes(() => peerObjects(node), []);
  },
  TEST_MS,
);

test(
  "a change of one family alone counts: MAC, public IP",
  async () => {
    const { underlay, node, kube } = await open({ config: DUAL_STACK, families: ["ipv4", "ipv6"] });
    await using _ = underlay;
    const data = (mac: string) => JSON.stringify({ VNI: 1, VtepMAC: mac });
    const [mac4, mac6, other4, other6] = [
      "02:00:00:00:04:01",
      "02:00:00:00:06:01",
      "02:00:00:00:04:02",
      "02:00:00:00:06:02",
    ];
    const annotations = {
      ...flannelAnnotations(A.n),
      [`${P}backend-data`]: data(mac4),
      [`${P}backend-v6-data`]: data(mac6),
      [`${P}public-ipv6`]: "fd00:77::65",
    };
    const podCIDRs = ["10.5.101.0/24", "fd00:5:0:101::/64"];
    await kube.create({ metadata: { name: NAME, annotations }, spec: { podCIDR: podCIDRs[0], podCIDRs }, status: {} });
    await node.flanneld().peers(1);
    const fdb = () =>
      node
        .objects()
        .filter((line) => line.startsWith("fdb "))
        .map((line) =>
          line
            .split(" ")
            .filter((_, i) => i === 1 || i === 5)
            .join(" "),
        )
        .sort();
    await becomes(fdb, [`${mac4} 192.168.77.101`, `${mac6} fd00:77::65`]);
    await kube.annotate(NAME, { [`${P}backend-v6-data`]: data(other6) });
    await becomes(fdb, [`${mac4} 192.168.77.101`, `${other6} fd00:77::65`].sort());
    await kube.annotate(NAME, { [`${P}backend-data`]: data(other4) });
    await becomes(fdb, [`${other4} 192.168.77.101`, `${other6} fd00:77::65`]);
    await kube.annotate(NAME, { [`${P}public-ipv6`]: "fd00:77::66" });
    await becomes(fdb, [`${other4} 192.168.77.101`, `${other6} fd00:77::66`]);
  },
  TEST_MS,
);

test(
  "a peer that comes again has another pod CIDR; of two with one the older has it until it goes",
  async () => {
    const { underlay, node, kube } = await open();
    await using _ = underlay;
    await kube.create(madeNode(A.n));
    const flanneld = await node.flanneld().peers(1);
    await kube.remove(NAME);
    const moved = { ...(madeNode(A.n) as object), spec: { podCIDR: "10.5.201.0/24", podCIDRs: ["10.5.201.0/24"] } };
    await kube.create(moved);
    await becomes(() => peerObjects(node), objectsOf({ ...A, subnet: "10.5.201.0/24" }));
    await Bun.sleep(1_100); // creation times have seconds
    const annotations = { ...flannelAnnotations(B.n) };
    await kube.create({ metadata: { name: "made-102", annotations }, spec: { podCIDR: "10.5.201.0/24" }, status: {} });
    await flanneld.says(/node made-102.*its pod CIDR 10\.5\.201\.0-24 is node made-101's too, which is older/);
    expect(peerObjects(node)).toEqual(objectsOf({ ...A, subnet: "10.5.201.0/24" }));
    await kube.remove(NAME);
    await becomes(() => peerObjects(node), objectsOf({ ...B, subnet: "10.5.201.0/24" }));
  },
  TEST_MS,
);

test(
  "the own Node: what somebody removes is written again; an overwritten public IP is published for as long as it is said; the device stays as it is",
  async () => {
    const { underlay, node, kube } = await open();
    await using _ = underlay;
    const flanneld = await node.flanneld().ready();
    const [link, objects, own] = [
      node.link(),
      node.objects(),
      async () => (await kube.node("node1")).metadata.annotations,
    ];
    const before = await own();
    await kube.annotate("node1", { [`${P}backend-data`]: null, [`${P}kube-subnet-manager`]: "false" });
    await becomes(own, before);
    await flanneld.says(/somebody changed annotations of node node1 \(.*backend-data.*\): written again/);
    await kube.annotate("node1", { [`${P}public-ip-overwrite`]: "203.0.113.7" });
    await becomes(async () => (await own())?.[`${P}public-ip`], "203.0.113.7");
    await kube.annotate("node1", { [`${P}public-ip-overwrite`]: "rubbish" });
    await Bun.sleep(300);
    expect((await own())?.[`${P}public-ip`]).toBe("203.0.113.7");
    await kube.annotate("node1", { [`${P}public-ip-overwrite`]: null });
    await becomes(own, before);
    expect([node.link(), node.objects()]).toEqual([link, objects]);
    expect(flanneld.lines(/Lease lost/)).toEqual([]);
  },
  TEST_MS,
);

test("the own Node: its public IP follows the host's", async () => {
  const { underlay, node, kube } = await open();
  await using _ = underlay;
  const flanneld = await node.flanneld().ready();
  node.run("ip address del 192.168.77.1/24 dev eth0; ip address add 192.168.77.77/24 dev eth0");
  node.run("ip route replace default via 192.168.77.254 dev eth0");
  // The connection has its old address, and is dead with it.
  await until("ready again", () => flanneld.lines(/ready$/).length >= 2, flanneld, NOTICE_MS);
  await becomes(
    async () => (await kube.node("node1")).metadata.annotations?.[`${P}public-ip`],
    "192.168.77.77",
    NOTICE_MS,
  );
}, 60_000);

test("the own Node: node-public-ip goes before what the host says", async () => {
  const { underlay, node, kube } = await open();
  await using _ = underlay;
  node.run("ip address add 192.168.77.113/24 dev eth0");
  await kube.annotate("node1", { [`${P}node-public-ip`]: "192.168.77.113" });
  await node.flanneld({ flags: ["--iface=eth0"] }).ready();
  expect((await kube.node("node1")).metadata.annotations?.[`${P}public-ip`]).toBe("192.168.77.113");
});

const say = (kube: KubeCluster, name: string, text: string | null) => kube.annotate("node1", { [`${P}${name}`]: text });
const published = async (kube: KubeCluster, name = "public-ip") =>
  (await kube.node("node1")).metadata.annotations?.[`${P}${name}`];

test(
  "the own Node: node-public-ip is followed while it runs, set, changed, rubbish and removed: the peer's FDB follows, pods lose nothing, and all is as after a start",
  async () => {
    const { underlay, node, kube } = await open({ nodes: 2, config: DUAL_STACK, families: ["ipv4", "ipv6"] });
    await using _ = underlay;
    const peer = underlay.node(2);
    for (const n of [113, 114]) node.run(`ip address add 192.168.77.${n}/24 dev eth0`);
    // The address that was added last is the interface's first.
    node.run("ip address add fd00:77::113/64 dev eth0 nodad; ip address del fd00:77::1/64 dev eth0");
    node.run("ip address add fd00:77::1/64 dev eth0 nodad; ip -6 route replace default via fd00:77::fe dev eth0");
    const [flanneld] = await Promise.all([node.flanneld().peers(1), peer.flanneld().peers(1)]);
    const [own, link] = [node.objects(), node.link()];
    const destinations = () =>
      peer
        .objects()
        .flatMap((line) => (line.startsWith("fdb ") ? [line.replace(/^.* dst (\S+).*$/, "$1")] : []))
        .sort();
    await becomes(destinations, ["192.168.77.1", "fd00:77::1"]);
    const streams = await Promise.all([
      PingStream.start(node, peer.overlay()),
      PingStream.start(peer, node.overlay("ipv6")),
    ]);

    await say(kube, "node-public-ip", "192.168.77.113");
    await becomes(destinations, ["192.168.77.113", "fd00:77::1"]);
    await say(kube, "node-public-ipv6", "fd00:77::113");
    await becomes(destinations, ["192.168.77.113", "fd00:77::113"]);
    await say(kube, "node-public-ip", "192.168.77.114");
    await becomes(destinations, ["192.168.77.114", "fd00:77::113"]);
    await becomes(() => flanneld.status?.publicIp, { ipv4: "192.168.77.114", ipv6: "fd00:77::113" });
    await becomes(() => flanneld.status?.phase, "ready");
    expect(flanneld.lines(/^[EW]/)).toEqual([]);

    for (const [text, shown] of [
      ["rubbish", '"rubbish"'],
      ["fd00:77::7", '"fd00:77::7"'],
    ] as const) {
      await say(kube, "node-public-ip", text);
      const warning = `this node's annotation node-public-ip is ${shown}, want an ipv4 address; 192.168.77.114 and fd00:77::113 stay its public IP`;
      await becomes(() => flanneld.status?.warning, warning);
      expect(flanneld.lines(/^W/).filter((line) => line.includes(warning))).toHaveLength(1);
    }
    await kube.annotate("node1", { "example.com/other": "1" }); // nothing of flannel's: not told again
    await say(kube, "public-ip-overwrite", "192.168.77.113");
    await becomes(async () => await published(kube), "192.168.77.113");
    await say(kube, "public-ip-overwrite", null);
    await becomes(async () => await published(kube), "192.168.77.114");
    expect(flanneld.lines(/annotation node-public-ip is/)).toHaveLength(2);
    expect([destinations(), flanneld.status?.phase]).toEqual([["192.168.77.114", "fd00:77::113"], "ready"]);

    await say(kube, "node-public-ip", "192.168.77.113");
    await becomes(() => flanneld.status?.warning, undefined);
    await becomes(destinations, ["192.168.77.113", "fd00:77::113"]);
    expect(await Promise.all(streams.map((stream) => stream.stop()))).toEqual([0, 0]);
    const followed = [node.objects(), peer.objects(), (await kube.node("node1")).metadata.annotations, node.link()];

    await flanneld.stop();
    await node.flanneld().peers(1);
    expect([node.objects(), peer.objects(), (await kube.node("node1")).metadata.annotations, node.link()]).toEqual(
      followed,
    );
    await say(kube, "node-public-ip", null);
    await say(kube, "node-public-ipv6", null);
    await becomes(destinations, ["192.168.77.1", "fd00:77::1"]);
    expect([await published(kube), await published(kube, "public-ipv6")]).toEqual(["192.168.77.1", "fd00:77::1"]);
    expect([node.objects(), node.link()]).toEqual([own, link]);
  },
  2 * TEST_MS,
);

test(
  "the own Node: a node-public-ip that host-gw cannot have is told once and not published; it is taken once the host has it; --public-ip is what is gone back to",
  async () => {
    const { underlay, node, kube } = await open({ nodes: 2, config: { ...NETWORK, Backend: { Type: "host-gw" } } });
    await using _ = underlay;
    const peer = underlay.node(2);
    const flags = ["--iface=eth0", "--public-ip=192.168.77.1"];
    const [flanneld] = await Promise.all([node.flanneld({ flags }).peers(1), peer.flanneld().peers(1)]);
    const ways = () => / via (\S+)/.exec(peer.run("ip route show proto 70"))?.[1];
    const via = () => (ways() === undefined ? / via (\S+)/.exec(peer.run("ip nexthop show proto 70"))?.[1] : ways());
    await becomes(via, "192.168.77.1");
    await say(kube, "node-public-ip", "192.168.77.113");
    await flanneld.says(
      /W\d.* cannot use the public IP that the Kubernetes API server \S+ says of this node: --public-ip: got 192\.168\.77\.113, want 192\.168\.77\.1, the address of eth0: .*; 192\.168\.77\.1 stays its public IP/,
    );
    await becomes(() => flanneld.status?.warning?.slice(0, 33), "cannot use the public IP that the");
    expect([await published(kube), flanneld.status?.phase, via()]).toEqual(["192.168.77.1", "ready", "192.168.77.1"]);
    node.run("ip address add 192.168.77.120/24 dev eth0"); // another look, and nothing new to tell
    await Bun.sleep(500);
    expect(flanneld.lines(/^[EW]/)).toHaveLength(1);

    node.run("sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1");
    node.run(
      "ip address add 192.168.77.113/24 dev eth0; ip address del 192.168.77.120/24 dev eth0; ip address del 192.168.77.1/24 dev eth0",
    );
    node.run("ip route replace default via 192.168.77.254 dev eth0");
    await becomes(async () => await published(kube), "192.168.77.113", NOTICE_MS);
    await becomes(via, "192.168.77.113");
    await becomes(() => [flanneld.status?.phase, flanneld.status?.warning], ["ready", undefined]);
  },
  2 * TEST_MS,
);

test.each(["flannel.alpha.coreos.com", "kb.example.com/net", "kb.example.com/net-"])(
  "the stored MACs of both families are used again when the devices are gone: --kube-annotation-prefix=%s",
  async (prefix) => {
    const { underlay, node, kube } = await open({ config: DUAL_STACK, families: ["ipv4", "ipv6"] });
    await using _ = underlay;
    const flags = [`--kube-annotation-prefix=${prefix}`];
    const first = await node.flanneld({ flags }).ready();
    const macs = () => ["flannel.1", "flannel-v6.1"].map((name) => node.link(name)?.mac);
    const before = macs();
    await first.stop();
    const full = prefix.includes("/") ? `${prefix.replace(/-$/, "")}-` : `${prefix}/`;
    const names = Object.keys((await kube.node("node1")).metadata.annotations ?? {}).sort();
    const short = [
      "backend-data",
      "backend-type",
      "backend-v6-data",
      "kube-subnet-manager",
      "public-ip",
      "public-ipv6",
    ];
    expect(names).toEqual(short.map((name) => `${full}${name}`));
    node.run(`ip link del flannel.1; ip link del flannel-v6.1; rm ${node.subnetFile}`);
    await node.flanneld({ flags }).ready();
    expect(macs()).toEqual(before);
  },
);

test(
  "the own Node is deleted and registered anew, with another pod CIDR: told, and everything follows",
  async () => {
    const { underlay, node, kube } = await open();
    await using _ = underlay;
    await kube.create(madeNode(A.n));
    const flanneld = await node.flanneld().peers(1);
    const [mac, old] = [node.link()?.mac, node.subnet()];
    await kube.remove("node1");
    await flanneld.says(/waiting: there is no node node1/);
    expect(node.objects().some((line) => line.startsWith("route 10.5.101.0/24"))).toBe(true);
    await kube.create({ metadata: { name: "node1" }, spec: { podCIDR: "10.5.66.0/24" }, status: {} });
    await becomes(() => node.subnet(), "10.5.66.0/24");
    await flanneld.says(new RegExp(`this node's subnet is now 10\\.5\\.66\\.0/24, no longer ${old}`));
    await flanneld.peers(1);
    expect(node.link()?.mac).toBe(mac as string);
    await becomes(async () => (await kube.node("node1")).metadata.annotations?.[`${P}kube-subnet-manager`], "true");
    await becomes(async () => (await kube.condition("node1"))?.status, "False");
  },
  TEST_MS,
);
