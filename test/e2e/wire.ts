// What goes over the wire between two nodes when one pod pings another, decoded by tshark, which shares no code with flanneld. Addresses and MACs stand as
// whose they are ("node 1", "flannel.1 of node 2"), so that what two daemons send can be compared, and kept in test/fixtures/wire.

import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Family } from "../../src/ip/family.ts";
import { run } from "../kernel/linux_world.ts";
import type { Node, Underlay } from "./nodes.ts";
import type { Pod } from "./pod.ts";
import { until } from "./program.ts";

const IP_FIELDS = ["ip.src", "ip.dst", "ip.ttl", "ip.dsfield", "ip.flags.df", "ip.proto", "ip.len"];
const IPV6_FIELDS = ["ipv6.src", "ipv6.dst", "ipv6.hlim", "ipv6.tclass", "ipv6.nxt", "ipv6.plen"];
const ECHO_FIELDS = ["icmp.type", "icmpv6.type", "data.len"] as const;

/** Of whatever is encapsulated how. */
export const COMMON_FIELDS = [
  ...ECHO_FIELDS,
  "frame.protocols",
  "frame.len",
  "eth.src",
  "eth.dst",
  "eth.type",
  ...IP_FIELDS,
  ...IPV6_FIELDS,
] as const;

export interface Decoding {
  /** tshark's names of the fields to compare; a field that a packet has twice (outer and inner) stands with both values. */
  readonly fields: readonly string[];
  /** "udp.port==8472,vxlan": for ports that tshark does not know. */
  readonly decodeAs?: string;
}

export interface WireCase extends Decoding {
  /** Name of the fixture, too. */
  readonly name: string;
  /** The network configuration. */
  readonly config: object;
  readonly families: readonly Family[];
  readonly fields: readonly ["icmp.type", "icmpv6.type", ...string[]];
  /** Links whose MAC is somebody's name, beside eth0. */
  readonly links?: readonly string[];
}

/** Field → value or values, in tshark's words. */
export type WirePacket = Readonly<Record<string, string>>;

const ECHO = "icmp.type==8 || icmp.type==0 || icmpv6.type==128 || icmpv6.type==129";

/** One echo request and its reply in each family, from the first node's pod to the second's, as they pass the first node's eth0. */
export async function exchange(
  underlay: Underlay,
  nodes: readonly [Node, Node],
  pods: readonly [Pod, Pod],
  wire: WireCase,
): Promise<WirePacket[]> {
  const [node] = nodes;
  const file = join(underlay.directory, `${wire.name}-${underlay.newLog().replace(/.*log-/, "")}.pcap`);
  const names = namesOf(nodes, pods, wire);
  // Neighbours are known, so that nothing but the echo is sent.
  for (const family of wire.families)
    await until("a ping", async () => (await pods[0].ping(pods[1].address[family], 1)) === 1);
  const capture = node.spawn(["tshark", "-q", "-i", "eth0", "-w", file, "-a", "duration:60"]);
  await until("tshark's file", () => existsSync(file) && statSync(file).size > 0, capture);
  const packets: WirePacket[] = [];
  for (const family of wire.families) {
    const seen = decode(file, ECHO, wire).length;
    const ping = async () => (await pods[0].ping(pods[1].address[family], 1, ["-s", "32", "-p", "66"])) === 1;
    await until(`an answer in ${family}`, ping);
    // The last two, should a loaded machine have lost one before.
    const echo = () => decode(file, ECHO, wire).slice(seen);
    await until("request and reply", () => isReply(echo().at(-1)), capture);
    packets.push(...echo().slice(-2));
  }
  await capture.stop("SIGINT");
  return packets.map((packet) => named(packet, names));
}

const isReply = (packet: WirePacket | undefined) =>
  packet !== undefined && (packet["icmp.type"] === "0" || packet["icmpv6.type"] === "129");

/** The packets of a file that a display filter lets through; `more`: options of tshark. */
export function decode(file: string, filter: string, { fields, decodeAs }: Decoding, more = ""): WirePacket[] {
  const options = [more, ...(decodeAs ? ["-d", decodeAs] : []), ...fields.flatMap((field) => ["-e", field])].join(" ");
  // A file that is still written may end within a packet.
  const text = run(
    `tshark -r ${file} -Y '${filter}' ${options} -T fields -E separator='|' -E occurrence=a 2>/dev/null || true`,
  );
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const values = line.split("|");
      return Object.fromEntries(fields.map((field, i) => [field, values[i] ?? ""]).filter(([, value]) => value !== ""));
    });
}

function namesOf(nodes: readonly Node[], pods: readonly Pod[], { links = [] }: WireCase): Map<string, string> {
  const names = new Map<string, string>();
  for (const [i, node] of nodes.entries()) {
    const who = `node ${i + 1}`;
    for (const address of Object.values(node.address)) names.set(address, who);
    for (const address of Object.values(pods[i]?.address ?? {})) names.set(address, `pod ${i + 1}`);
    for (const link of ["eth0", ...links]) {
      const mac = node.link(link)?.mac;
      if (mac) names.set(mac, `${link} of ${who}`);
    }
  }
  return names;
}

/** The kernel chooses a flow's source port, and computes or leaves out a checksum. */
function named(packet: WirePacket, names: ReadonlyMap<string, string>): WirePacket {
  return Object.fromEntries(
    Object.entries(packet).map(([field, value]) => {
      const values = value.split(",").map((each) => {
        if (field === "udp.srcport" && Number(each) >= 32_768) return "of the flow";
        if (field === "udp.checksum") return Number(each) === 0 ? "none" : "there";
        return names.get(each) ?? each;
      });
      return [field, values.join(", ")];
    }),
  );
}
