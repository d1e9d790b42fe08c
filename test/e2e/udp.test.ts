// The udp backend: the contract of backends, what it says to pods and refuses from others, and Go flannel's nodes beside ours.

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { parseStatus } from "../../src/config/status.ts";
import { ipv4Packet, udpPacket } from "../fixtures/packets/packets.ts";
import { backendContract, PodNetwork, standing } from "./backend_contract.ts";
import { becomes } from "./becomes.ts";
import { GO_FLANNELS, startGo } from "./go_flannel.ts";
import { type Node, Underlay } from "./nodes.ts";
import { Pod } from "./pod.ts";
import { type Program, until } from "./program.ts";
import { transferBothWays } from "./transfer.ts";
import { counters, DatagramSource, dotted, UDP, UDP_DRIFTS, udpSockets } from "./udp.ts";

const TEST_MS = 120_000;
const IPV4 = { config: UDP, families: ["ipv4"] } as const;
/** In the network, and no node's. */
const NOBODY = "10.5.222.2";

backendContract({
  title: "udp",
  ...IPV4,
  drifts: UDP_DRIFTS,
  oneRoute: true,
  also: udpSockets,
  // Nobody reads the device while no flanneld runs: a second at most, of a thousand packets a second.
  restartLoss: 1_000,
});

/** `store`: of any kind, or the one that needs no network of the nodes'. */
async function twoNodes(config: object = UDP, store: "any" | "embedded" = "any") {
  const network = await PodNetwork.open({ ...IPV4, config, ...(store === "embedded" && { only: store }) }, 2);
  const [a, b] = network.nodes;
  if (!a || !b) throw new RangeError("There are two nodes");
  await network.allReach();
  return { network, a, b, [Symbol.asyncDispose]: () => network[Symbol.asyncDispose]() };
}

test("udp: one device, one address, one route, and a lease without BackendType", async () => {
  await using two = await twoNodes();
  const { a, network } = two;
  expect(a.subnetEnv.FLANNEL_MTU).toBe("1472");
  expect(a.run("ip -4 -o address show dev flannel0")).toContain(` ${a.overlay()}/32 `);
  expect(a.run("ip -4 route show dev flannel0")).toBe("10.5.0.0/16 proto 70 scope link \n");
  expect(a.run("ip -d link show flannel0")).toContain("tun type tun pi off vnet_hdr on persist on");
  const [entry] = await network.underlay.store.entries();
  expect(JSON.parse(entry?.value ?? "")).toEqual({
    PublicIP: expect.stringMatching(/^192\.168\.77\.[12]$/),
    PublicIPv6: null,
  });
  expect(network.flanneld(a).lines(/packet loop dev flannel0 udp 192.168.77.1:8285: .*checksums by SIMD/)).toHaveLength(
    1,
  );
});

test(
  "udp: 48 MB of TCP arrive whole in both directions",
  async () => {
    await using two = await twoNodes();
    await transferBothWays(two.network.pod(two.a), two.network.pod(two.b));
  },
  TEST_MS,
);

test(
  "udp: over a path with a smaller MTU, where the kernel does not cut messages, all arrives whole too",
  async () => {
    await using two = await twoNodes();
    const { a, b, network } = two;
    a.run(`ip route add ${b.address.ipv4}/32 dev eth0 mtu 1400`);
    await transferBothWays(network.pod(a), network.pod(b));
    expect((await counters(network.flanneld(a)))["sent one by one"]).toBeGreaterThan(1_000);
  },
  TEST_MS,
);

test("udp: a pod is told that nobody has a subnet, and that a TTL is used up", async () => {
  await using two = await twoNodes();
  const { a, b, network } = two;
  const ping = async (...options: string[]) => {
    const program = network.pod(a).spawn(["ping", "-n", "-c", "1", "-W", "2", ...options]);
    await program.exit();
    return program.output;
  };
  expect(await ping(NOBODY)).toContain(`From ${a.overlay()} icmp_seq=1 Destination Net Unreachable`);
  // One hop is the pod's own bridge, the next the packet loop.
  expect(await ping("-t", "2", network.pod(b).address.ipv4)).toContain(
    `From ${a.overlay()} icmp_seq=1 Time to live exceeded`,
  );
  const now = await counters(network.flanneld(a));
  expect([now["no peer has the destination"], now["from the device: TTL used up"], now["ICMP errors"]]).toEqual([
    1, 1, 2,
  ]);
});

/** A good packet from a subnet to a pod. */
const packet = (source: string, destination: string) =>
  udpPacket({ source: dotted(source), destination: dotted(destination), payload: new Uint8Array(100) });

/** What is no good packet from anybody, and how its drop is counted. */
const BAD: readonly (readonly [string, (to: string) => Uint8Array, string])[] = [
  ["nothing", () => new Uint8Array(0), "from peers: too short"],
  ["half a header", (to) => packet(NOBODY, to).subarray(0, 12), "from peers: too short"],
  ["IPv6", (to) => packet(NOBODY, to).with(0, 0x65), "from peers: not IPv4"],
  ["a header length of 16", (to) => packet(NOBODY, to).with(0, 0x44), "from peers: wrong header length"],
  ["a packet cut off", (to) => packet(NOBODY, to).subarray(0, 60), "from peers: wrong total length"],
  [
    "a wrong header checksum",
    (to) => packet(NOBODY, to).with(10, ~(packet(NOBODY, to)[10] ?? 0)),
    "from peers: wrong header checksum",
  ],
  ["a used-up TTL", (to) => ipv4Packet({ destination: dotted(to), ttl: 1 }), "from peers: TTL used up"],
  ["a destination outside", () => packet(NOBODY, "192.168.77.1"), "destination outside the network"],
  ["a destination far outside", () => packet(NOBODY, "8.8.8.8"), "destination outside the network"],
  ["a broadcast", () => packet(NOBODY, "255.255.255.255"), "destination outside the network"],
];

test("udp: malformed datagrams and destinations outside the network are dropped and counted, and nothing else is", async () => {
  await using two = await twoNodes();
  const { a, b, network } = two;
  using source = new DatagramSource(b);
  const to = network.pod(a).address.ipv4;
  const before = await counters(network.flanneld(a));
  const expected: Record<string, number> = { ...before };
  for (const [i, [, make, counter]] of BAD.entries()) {
    for (let n = 0; n <= i; n++) source.send(a.address.ipv4, make(to));
    expected[counter] = (expected[counter] ?? 0) + i + 1;
  }
  const good = packet(network.pod(b).address.ipv4, to);
  source.send(a.address.ipv4, good);
  expected["received packets"] = (expected["received packets"] ?? 0) + 1;
  expected["received bytes"] = (expected["received bytes"] ?? 0) + good.length;
  expected["writes to the device"] = (expected["writes to the device"] ?? 0) + 1;
  // The pod's answer that the port is closed.
  expected["sent packets"] = (expected["sent packets"] ?? 0) + 1;
  expected["sent messages"] = (expected["sent messages"] ?? 0) + 1;
  // The kernel sends IPv6 of its own to the device, whenever it likes.
  const withoutOthers = ({
    "sent bytes": _,
    "from the device: not IPv4": __,
    ...rest
  }: Readonly<Record<string, number>>) => rest;
  await becomes(async () => withoutOthers(await counters(network.flanneld(a))), withoutOthers(expected));
  await network.allReach();
});

test.each([false, true])(
  "udp: Strict %p and senders that are no peer, sources that are not the sender's",
  async (strict) => {
    await using two = await twoNodes({ ...UDP, Backend: { Type: "udp", Strict: strict } });
    const { a, b, network } = two;
    using peer = new DatagramSource(b);
    using stranger = new DatagramSource(network.underlay.node(3));
    const to = network.pod(a).address.ipv4;
    const own = network.pod(b).address.ipv4;
    const before = await counters(network.flanneld(a));
    const received = before["received packets"] ?? 0;
    stranger.send(a.address.ipv4, packet(own, to));
    peer.send(a.address.ipv4, packet(NOBODY, to));
    peer.send(a.address.ipv4, packet("8.8.8.8", to));
    peer.send(a.address.ipv4, packet(own, to));
    const look = async () => {
      const now = await counters(network.flanneld(a));
      return [now["received packets"], now["unknown sender"] ?? 0, now["source outside the sender's subnet"] ?? 0];
    };
    await becomes(look, strict ? [received + 1, 1, 2] : [received + 4, 0, 0]);
    await network.allReach();
  },
);

test("udp: a network with IPv6 is refused, and the backends that carry it are named", async () => {
  const config = { ...UDP, EnableIPv6: true, IPv6Network: "fd00:5::/48" };
  await using underlay = await Underlay.open({ nodes: 1, config });
  const flanneld = underlay.node(1).flanneld();
  expect(await flanneld.exit()).toBe(1);
  expect(flanneld.output).toMatch(
    /EnableIPv6: got true, want false: the udp backend carries no IPv6; backends that do: .*vxlan/,
  );
});

test(
  "udp: a network goes from vxlan to udp and back, and nothing of the other is left",
  async () => {
    const VXLAN = { ...UDP, Backend: { Type: "vxlan" } };
    await using two = await twoNodes(VXLAN);
    const { network } = two;
    const subnets = network.nodes.map((node) => node.subnet());
    const devices = (node: Node) =>
      standing(node, udpSockets)
        .map((line) => /^(flannel\S*): <|^(udp) /.exec(line))
        .map((found) => found?.[1] ?? found?.[2])
        .filter((name) => name !== undefined);
    const turns = [
      [UDP, ["flannel0", "udp"]],
      [VXLAN, ["flannel.1"]],
      [UDP, ["flannel0", "udp"]],
    ] as const;
    for (const [config, expected] of turns) {
      await network.underlay.store.configure(config);
      for (const node of network.nodes) {
        await network.flanneld(node).stop();
        await network.start(node);
      }
      for (const node of network.nodes) await becomes(() => devices(node), [...expected], 20_000);
      await network.allReach();
      expect(network.nodes.map((node) => node.subnet())).toEqual(subnets);
      for (const node of network.nodes) expect(network.flanneld(node).lines(/^E/)).toEqual([]);
    }
  },
  TEST_MS,
);

test(
  "udp: at rest its threads use no processor",
  async () => {
    await using two = await twoNodes(UDP, "embedded");
    const { pid } = two.network.flanneld(two.a);
    await Bun.sleep(AT_REST_MS);
    const [before, from] = [processorNs(pid), performance.now()];
    await Bun.sleep(10_000);
    expect((processorNs(pid) - before) / ((performance.now() - from) * 1e6)).toBeLessThan(0.002);
  },
  TEST_MS,
);

/** After five seconds flanneld has given back what its start needed. */
const AT_REST_MS = 7_000;

/** Time that all threads of a process have run. */
function processorNs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce((sum, thread) => {
    const [ns] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ");
    return sum + Number(ns);
  }, 0);
}

describe.each(GO_FLANNELS)("$title", (go) => {
  type Start = (underlay: Underlay, node: Node) => Promise<Program>;
  const theirs: Start = (underlay, node) => startGo(go, underlay, node);
  const ours: Start = (_, node) => node.flanneld().ready();
  const open = (nodes: number) =>
    Underlay.open({ nodes, families: ["ipv4"], etcd: { members: 1, enableV2: true, api: go.api }, config: UDP });

  async function reach(pods: readonly Pod[]): Promise<void> {
    for (const from of pods) {
      for (const to of pods) {
        if (to === from) continue;
        await becomes(() => from.ping(to.address.ipv4, 1), 1);
        expect(await from.ping(to.address.ipv4)).toBe(3);
      }
    }
  }

  test.each([
    ["Go first", [theirs, ours, theirs, ours]],
    ["ours first", [ours, theirs, ours, theirs]],
  ] as const)(
    "udp, %s: all pods reach each other, and 48 MB arrive whole in both directions between the kinds",
    async (_title, starts) => {
      await using underlay = await open(4);
      const pods: Pod[] = [];
      try {
        for (const [i, start] of starts.entries()) {
          await start(underlay, underlay.node(i + 1));
          pods.push(new Pod(underlay, underlay.node(i + 1), ["ipv4"]));
          await reach(pods);
        }
        const [first, second] = pods;
        if (!first || !second) throw new RangeError("There are four pods");
        await transferBothWays(first, second);
        await transferBothWays(second, first);
      } finally {
        for (const pod of pods) pod[Symbol.dispose]();
      }
    },
    TEST_MS,
  );

  test(
    "udp: each takes a node over from the other and keeps its subnet; Go needs our device gone",
    async () => {
      await using underlay = await open(2);
      const [node, other] = [underlay.node(1), underlay.node(2)];
      await ours(underlay, other);
      let daemon = await theirs(underlay, node);
      using pod = new Pod(underlay, node, ["ipv4"]);
      using peer = new Pod(underlay, other, ["ipv4"]);
      await reach([pod, peer]);
      const subnet = node.subnet();
      for (const start of [ours, theirs, ours]) {
        await daemon.stop();
        if (start === theirs) node.run("ip link delete flannel0");
        else await until("the end of Go's device", () => !node.link("flannel0"));
        daemon = await start(underlay, node);
        expect(node.subnet()).toBe(subnet);
        await reach([pod, peer]);
      }
    },
    TEST_MS,
  );
});

/** The thread of the packet loop: the one that waits in poll(2) or ppoll(2) for three files. */
function loopThread(pid: number): string {
  const found = readdirSync(`/proc/${pid}/task`).filter((thread) => {
    const [number, , files] = readFileSync(`/proc/${pid}/task/${thread}/syscall`, "utf8").split(" ");
    return ["7", "73"].includes(number ?? "") && files === "0x3";
  });
  if (found.length !== 1 || !found[0])
    throw new Error(`threads that wait for three files: ${found.join(", ") || "none"}`);
  return found[0];
}

test(
  "udp: a loop whose thread hangs where nobody can end it ends flanneld with what is wrong; device and addresses stay, and the next one has them",
  async () => {
    await using two = await twoNodes();
    const { a, b, network } = two;
    const flanneld = network.flanneld(a);
    const [before, link] = [standing(a), a.link("flannel0")];
    const freezer = a.spawn([process.execPath, `${import.meta.dir}/freeze_thread.ts`, loopThread(flanneld.pid)]);
    await freezer.says(/frozen/);
    expect(await flanneld.exit(40_000)).toBe(1);
    const device = "packet loop dev flannel0 udp 192.168.77.1:8285";
    await flanneld.says(
      new RegExp(`^E.*${device} hangs: it has not moved for 10 s; ending it and starting it again$`, "m"),
    );
    await flanneld.says(
      new RegExp(`^E.*cannot end the thread of the ${device}: it is still there after 2 s, .* is started again$`, "m"),
    );
    const status = parseStatus(readFileSync(`${a.directory}/run/status.json`, "utf8"));
    expect([status?.phase, status?.cause]).toEqual(["failed", expect.stringContaining("cannot end the thread")]);
    expect([a.link("flannel0"), a.run("ip -o address show flannel0")]).toEqual([
      link,
      expect.stringContaining(`${a.overlay()}/32`),
    ]);
    await freezer.exit();

    await a.flanneld().ready();
    await becomes(() => [standing(a), a.link("flannel0")], [before, link]);
    expect(await a.ping(b.overlay())).toBe(3);
  },
  TEST_MS,
);

test(
  "udp: an interface that sends nothing any more is no loop that hangs: it drops, counts and receives, and goes on once the interface does",
  async () => {
    await using two = await twoNodes(UDP, "embedded");
    const { a, b, network } = two;
    const flanneld = network.flanneld(a);
    // A kilobit a second, and room for more than the socket's buffer holds.
    a.run("tc qdisc add dev eth0 root tbf rate 1kbit burst 2000 limit 1000000000");
    const flood = a.spawn([
      "bash",
      "-c",
      `exec 3<>/dev/udp/${b.overlay()}/9; while :; do head -c 60000 /dev/zero >&3; done`,
    ]);
    const failed = async () => (await counters(flanneld))["send failed"] ?? 0;
    await until("packets that could not be sent", async () => (await failed()) > 1_000, flanneld, 60_000);
    const received = (await counters(flanneld))["received packets"] ?? 0;
    const ping = b.spawn(["ping", "-n", "-q", "-c", "100", "-i", "0.01", "-W", "1", a.overlay()]);
    await ping.exit();
    expect((await counters(flanneld))["received packets"]).toBeGreaterThanOrEqual(received + 100);
    await Bun.sleep(13_000); // longer than a loop may stand still
    expect(flanneld.lines(/^[EW]/)).toEqual([]);
    await flood.stop();
    a.run("tc qdisc del dev eth0 root");
    await becomes(() => a.ping(b.overlay()), 3);
    expect(await flanneld.stop()).toBe(0);
  },
  TEST_MS,
);
