// The udp backend on kernels that lack a feature of its packet loop: each is refused by the kernel itself (refusals.ts) to the flanneld of one node, which says what is missing
// and goes on without; all that pods send arrives whole, there and back, from and to a node that lacks nothing.

import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { setHeaderLength } from "../kernel/tun_header.ts";
import { PodNetwork } from "./backend_contract.ts";
import { becomes } from "./becomes.ts";
import { askDatagrams, serveDatagrams } from "./datagrams.ts";
import type { Flanneld } from "./flanneld.ts";
import type { Node } from "./nodes.ts";
import { type Feature, REFUSALS, without } from "./refusals.ts";
import { transferBothWays } from "./transfer.ts";
import { counters, UDP } from "./udp.ts";

const TEST_MS = 60_000;
const BULK_BYTES = 16_000_000;
/** Headers of ICMP and IPv4 less than the MTU of 1472. */
const FULL_PING = ["-M", "do", "-s", "1444"];
/** Of the runtime; there is no system call to refuse. */
const NO_SIMD = { BUN_JSC_useWasmSIMD: "0" };

const BUFFERS = "SO_RCVBUFFORCE and SO_SNDBUFFORCE (CAP_NET_ADMIN)";
const HEADER = "virtio headers of 10 bytes (IFF_VNET_HDR, Linux 2.6.27)";
const USO = "TUN_F_USO4 (Linux 6.2)";

interface Step {
  readonly title: string;
  readonly refused: readonly Feature[];
  readonly missing: readonly string[];
  readonly simd?: false;
  /** With a device that no flanneld has told anything yet, as it were on such a kernel. */
  readonly newDevice?: true;
  /** Of virtio headers, as another program has told the device. */
  readonly headerBytes?: number;
}

const STEPS: readonly Step[] = [
  { title: "nothing", refused: [], missing: [] },
  // Of a device that had a header, and gave large packets, until now.
  { title: "virtio headers", refused: ["IFF_VNET_HDR"], missing: [HEADER] },
  { title: "a choice of virtio headers", refused: ["TUNSETVNETHDRSZ"], missing: [] },
  {
    title: "a choice of virtio headers, where another program chose",
    refused: ["TUNSETVNETHDRSZ"],
    missing: [HEADER],
    headerBytes: 12,
  },
  { title: "large UDP packets", refused: ["TUN_F_USO4"], missing: [USO] },
  { title: "large packets", refused: ["TUN_F_TSO4"], missing: ["TUN_F_TSO4 (Linux 2.6.27)", USO] },
  {
    title: "offloads",
    refused: ["TUNSETOFFLOAD"],
    missing: ["TUNSETOFFLOAD (Linux 2.6.27)"],
    newDevice: true,
  },
  { title: "UDP_SEGMENT", refused: ["UDP_SEGMENT"], missing: ["UDP_SEGMENT (Linux 4.18)"] },
  { title: "UDP_GRO", refused: ["UDP_GRO"], missing: ["UDP_GRO (Linux 5.0)"] },
  { title: "sendmmsg", refused: ["sendmmsg"], missing: ["sendmmsg (Linux 3.0)"] },
  { title: "recvmmsg", refused: ["recvmmsg"], missing: ["recvmmsg (Linux 2.6.33)"] },
  { title: "larger buffers", refused: ["SO_BUFFORCE"], missing: [BUFFERS] },
  { title: "SIMD", refused: [], missing: ["SIMD of WebAssembly"], simd: false },
  {
    title: "anything",
    refused: Object.keys(REFUSALS) as Feature[],
    missing: [
      HEADER,
      "UDP_SEGMENT (Linux 4.18)",
      "UDP_GRO (Linux 5.0)",
      "sendmmsg (Linux 3.0)",
      "recvmmsg (Linux 2.6.33)",
      BUFFERS,
      "SIMD of WebAssembly",
      "a raw socket (CAP_NET_RAW)",
    ],
    simd: false,
    newDevice: true,
  },
];

let network: PodNetwork;
let node: Node;
let other: Node;
let flanneld: Flanneld | undefined;

beforeAll(async () => {
  network = await PodNetwork.open({ config: UDP, families: ["ipv4"] }, 2, 2);
  const [a, b] = network.nodes;
  if (!a || !b) throw new RangeError("There are two nodes");
  [node, other] = [a, b];
  await network.allReach();
  await network.flanneld(node).stop();
  for (const each of [a, b]) await serveDatagrams(network.pod(each));
}, TEST_MS);

afterEach(async () => void (await flanneld?.stop("SIGKILL")));

afterAll(async () => await network[Symbol.asyncDispose]());

test.each([...STEPS])(
  "udp without $title: says so, and everything arrives whole",
  async ({ refused, missing, simd, newDevice, headerBytes }) => {
    if (newDevice) node.run("ip link delete flannel0");
    if (headerBytes) setHeaderLength(node.namespace.path, "flannel0", headerBytes);
    flanneld = node.flanneld({ under: without(refused), environment: simd === false ? NO_SIMD : {} });
    await flanneld.ready();
    const [pod, peer] = [network.pod(node), network.pod(other)];
    await becomes(() => pod.ping(peer.address.ipv4, 1), 1);
    const said = flanneld.lines(/packet loop dev flannel0 udp 192\.168\.77\.\d+:8285: /);
    expect(said.map((line) => line.replace(/.*; /, ""))).toEqual([
      missing.length === 0 ? "nothing is missing" : `missing: ${missing.join(", ")}`,
    ]);

    expect(await Promise.all([pod.ping(peer.address.ipv4, 3, FULL_PING), peer.ping(pod.address.ipv4, 3, FULL_PING)])) //
      .toEqual([3, 3]);
    const datagrams = await Promise.all([askDatagrams(pod, peer), askDatagrams(peer, pod)]);
    expect(datagrams).toEqual([expect.stringMatching(/^\d+ datagrams whole$/), datagrams[0]]);
    await transferBothWays(pod, peer, BULK_BYTES);

    // That it went without, and did not only say so.
    const now = await counters(flanneld);
    const { "sent messages": messages = 0, "sent packets": sent = 0 } = now;
    const { "writes to the device": writes = 0, "received packets": received = 0 } = now;
    const header = !missing.includes(HEADER);
    expect(node.run("ip -d link show flannel0")).toContain(`vnet_hdr ${header ? "on" : "off"}`);
    expect([messages < sent, writes < received]).toEqual([!refused.includes("UDP_SEGMENT"), header]);
    expect(flanneld.lines(/^[EW]/)).toEqual([]);
  },
  TEST_MS,
);
