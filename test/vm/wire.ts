// What two nodes of a guest send each other (captured by wire.sh), decoded by tshark and compared with what Go flannel's daemons sent (test/fixtures/wire), in the
// same words as ../e2e/wire.ts. What is random, keys, SPIs, cookies and counters, is left out or stands as what it is; what is encrypted shows by its lengths.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DUAL_STACK } from "../e2e/nodes.ts";
import { Store } from "../e2e/store.ts";
import { COMMON_FIELDS, type Decoding, decode, type WirePacket } from "../e2e/wire.ts";
import { IPSEC as IPSEC_CONFIG } from "./ipsec_nodes.ts";
import type { NodesResult } from "./nodes.ts";

export interface GuestWire extends Decoding {
  /** Of the fixture, and of the capture. */
  readonly name: string;
  /** The network configuration. */
  readonly config: object;
  /** tshark's display filter for what carries packets of pods. */
  readonly carries: string;
  /** The same for what comes before it; undefined where nothing does. */
  readonly handshake?: string;
  /** What ours sends where Go's sends this, if it is something else on purpose. */
  readonly departure?: (packet: WirePacket) => WirePacket;
}

export interface GuestRecording {
  /** subnet.env's. */
  readonly mtu: number;
  /** Values in the store, of nodes 1 and 2. */
  readonly leases: readonly string[];
  /** Part → its packets, each kind once. */
  readonly packets: Readonly<Record<string, readonly WirePacket[]>>;
}

const HANDSHAKE = "handshake";
/** Seconds since 1970, always of ten digits, with nine after the point. */
const TIME = "frame.time_epoch";
const PIECES = ["ip.flags.mf", "ip.frag_offset"];
const UDP = ["udp.srcport", "udp.dstport", "udp.length", "udp.checksum"];
const ESP = ["esp.spi", "udpencap.non_esp_marker", "udpencap.nat_keepalive"];
const IKE = [
  ...["version", "exchangetype", "flags", "nextpayload", "length", "prop.protoid", "tf.id.encr", "tf.id.prf"],
  ...["tf.id.integ", "tf.id.dh", "tf.id.esn", "ike2.attr.key_length", "key_exchange.dh_group", "notify.msgtype"],
].map((field) => `isakmp.${field}`);

const PODS = "(icmp || tcp || ip.proto==1 || ip.proto==6) && ip.addr==10.5.0.0/16";

const ipip = (name: string, options: object): GuestWire => ({
  name,
  config: { Network: "10.5.0.0/16", Backend: { Type: "ipip", ...options } },
  carries: PODS,
  fields: [...COMMON_FIELDS, ...PIECES],
});

/** Bytes in front of IKE on port 4500 (RFC 3948). */
const MARKER_BYTES = 4;
/** Of IKE_AUTH's answer: the word MOBIKE_SUPPORTED, padded to a cipher's block. */
const MOBIKE_BYTES = 16;

/**
 * upstream: MOBIKE (RFC 4555), charon's default, with which IKE_AUTH `moves` to port 4500 also where nothing else does. Ours leaves it out, since an association on another address
 * than the policy's would serve nobody.
 */
const withoutMobike =
  (moves: boolean) =>
  (packet: WirePacket): WirePacket => {
    if (packet["isakmp.exchangetype"] !== "35") return packet;
    const less = (field: string, bytes: number) => `${Number(packet[field]) - bytes}`;
    const word = packet["isakmp.flags"] === "0x20" ? MOBIKE_BYTES : 0;
    const outer = word + (moves ? MARKER_BYTES : 0);
    const shorter: WirePacket = {
      ...packet,
      "frame.len": less("frame.len", outer),
      "ip.len": less("ip.len", outer),
      "udp.length": less("udp.length", outer),
      "isakmp.length": less("isakmp.length", word),
    };
    if (!moves) return shorter;
    const { "udpencap.non_esp_marker": _, ...stays } = shorter;
    const protocols = packet["frame.protocols"]?.replace(":udpencap", "") ?? "";
    return { ...stays, "frame.protocols": protocols, "udp.srcport": "500", "udp.dstport": "500" };
  };

const ipsec = (name: string, options: object, moves: boolean): GuestWire => ({
  name,
  config: { ...IPSEC_CONFIG, Backend: { ...IPSEC_CONFIG.Backend, ...options } },
  carries: "esp",
  // Those that agree on something: where both ends begin at once, some say no, for a moment.
  handshake: "isakmp.key_exchange.dh_group || isakmp.exchangetype==35",
  departure: withoutMobike(moves),
  fields: [...COMMON_FIELDS, ...PIECES, ...UDP, ...ESP, ...IKE],
});

/** Of the wireguard backend. */
export const PSK = Uint8Array.from({ length: 32 }, (_, i) => 200 - i).toBase64();
export const KEEPALIVE_S = 25;

export const WIREGUARD: GuestWire = {
  name: "wireguard",
  config: { ...DUAL_STACK, Backend: { Type: "wireguard", PSK, PersistentKeepaliveInterval: KEEPALIVE_S } },
  carries: "wg.type==4 && !wg.keepalive",
  handshake: "wg.type==1 || wg.type==2",
  fields: [...COMMON_FIELDS, ...UDP, "wg.type", "wg.reserved"],
  // 51820 it knows.
  decodeAs: "udp.port==51821,wg",
};
export const IPIP = ipip("ipip", {});
export const IPIP_DIRECT = ipip("ipip_direct_routing", { DirectRouting: true });
export const IPSEC = ipsec("ipsec", {}, true);
export const IPSEC_ENCAP = ipsec("ipsec_encap", { UDPEncap: true }, false);

const path = ({ name }: GuestWire) => join(import.meta.dir, "../fixtures/wire", `${name}.json`);

/** What was recorded of Go's. */
export function recordedWire(wire: GuestWire): GuestRecording {
  const { mtu, leases, packets } = JSON.parse(readFileSync(path(wire), "utf8")) as GuestRecording;
  return { mtu, leases, packets };
}

/** What ours has to send: the same, but for the departures. */
export function expectedWire(wire: GuestWire): GuestRecording {
  const { departure = (packet) => packet } = wire;
  const { packets, ...rest } = recordedWire(wire);
  const parts = Object.entries(packets).map(([part, each]) => {
    const departed = each.map(departure);
    return [part, part === HANDSHAKE ? inOrder(departed) : departed];
  });
  return { ...rest, packets: Object.fromEntries(parts) };
}

/** Keeps it, with the program and commands that it came about by. */
export function recordWire(wire: GuestWire, program: string, commands: readonly string[], seen: GuestRecording): void {
  writeFileSync(path(wire), `${JSON.stringify({ program, commands, ...seen }, null, 2)}\n`);
}

/** What the script's begin_wire and end_wire have seen. */
export async function wireOf(nodes: NodesResult, wire: GuestWire): Promise<GuestRecording> {
  const file = (suffix: string) => nodes.file(`wire/${wire.name}.${suffix}`);
  const directory = mkdtempSync(join(tmpdir(), "flannel-wire-"));
  try {
    const capture = join(directory, "pcap");
    writeFileSync(capture, Buffer.from(file("pcap"), "base64"));
    const names = namesOf(file("macs").split("\n"), file("pods").split("\n"));
    const packets = partsOf(capture, wire, file("parts").split("\n"), names);
    const leases = await leasesOf(nodes, wire, directory);
    return { mtu: Number(/^FLANNEL_MTU=(\d+)$/m.exec(file("env"))?.[1]), leases, packets };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function partsOf(capture: string, wire: GuestWire, parts: readonly string[], names: ReadonlyMap<string, string>) {
  const fields = [TIME, ...wire.fields];
  const seen = (filter: string | undefined) =>
    filter === undefined ? [] : decode(capture, filter, { ...wire, fields }, "-o ip.defragment:FALSE");
  const [handshake, carrying] = [seen(wire.handshake), seen(wire.carries)];
  const packets: Record<string, readonly WirePacket[]> = {};
  for (const line of parts) {
    const [, from = "", to = "", part = ""] = /^(\S+) (\S+) (.*)$/.exec(line) ?? [];
    if (part === HANDSHAKE && wire.handshake === undefined) continue;
    const of = part === HANDSHAKE ? handshake : carrying;
    const during = of.filter(({ [TIME]: time = "" }) => time >= from && time < to);
    const told = during.map(({ [TIME]: _, ...packet }) => named(packet, names));
    packets[part] = part.startsWith("tcp") ? extremes(told) : kinds([...(packets[part] ?? []), ...told], part);
  }
  return packets;
}

/** Each kind of packet once, so that it does not matter what was sent again. Who begins a handshake is chance. */
function kinds(packets: readonly WirePacket[], part: string): readonly WirePacket[] {
  const texts = packets.map((packet) => JSON.stringify(packet));
  const told = part === HANDSHAKE ? texts.map((text) => text.replaceAll(/node [12]/g, "a node")) : texts;
  return inOrder([...new Set(told)].map((text) => JSON.parse(text) as WirePacket));
}

/** By fields in the order of their names. */
function inOrder(packets: readonly WirePacket[]): readonly WirePacket[] {
  const text = (packet: WirePacket) => JSON.stringify(Object.entries(packet).toSorted());
  return packets.toSorted((a, b) => (text(a) < text(b) ? -1 : 1));
}

/** The longest that carries data, and the shortest that acknowledges. */
function extremes(packets: readonly WirePacket[]): readonly WirePacket[] {
  const byLength = packets.toSorted((a, b) => Number(a["frame.len"]) - Number(b["frame.len"]));
  const from = (n: number) => byLength.filter((packet) => packet["eth.src"] === `eth0 of node ${n}`);
  return [from(2).at(-1), from(1)[0]].filter((packet) => packet !== undefined);
}

async function leasesOf(nodes: NodesResult, wire: GuestWire, directory: string): Promise<readonly string[]> {
  const values = nodes.has(`wire/${wire.name}.leases`)
    ? nodes.file(`wire/${wire.name}.leases`).split("\n")
    : await storedIn(directory, (name) => nodes.file(`wire/${wire.name}.${name}`));
  return values
    .filter((value) => /"192\.168\.77\.[12]"/.test(value))
    .map((value) => value.replaceAll(/"[A-Za-z0-9+/]{43}="/g, '"32 bytes in base64"'))
    .sort();
}

async function storedIn(directory: string, file: (name: string) => string): Promise<readonly string[]> {
  // What was written of late is in the second.
  for (const name of ["store.db", "store.db-wal"]) {
    writeFileSync(join(directory, name), Buffer.from(file(name), "base64"));
  }
  using store = await Store.open(join(directory, "store.db"));
  return (await store.entries()).map(({ value }) => value);
}

function namesOf(macs: readonly string[], pods: readonly string[]): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const [i, mac] of macs.entries()) {
    names.set(mac, `eth0 of node ${i + 1}`);
    for (const address of [`192.168.77.${i + 1}`, `fd00:77::${i + 1}`]) names.set(address, `node ${i + 1}`);
    for (const address of pods[i]?.split(" ") ?? []) names.set(address, `pod ${i + 1}`);
  }
  return names;
}

function named(packet: WirePacket, names: ReadonlyMap<string, string>): WirePacket {
  return Object.fromEntries(
    Object.entries(packet).map(([field, value]) => {
      if (field === "esp.spi") return [field, "there"];
      if (field === "udp.checksum") return [field, Number(value) === 0 ? "none" : "there"];
      return [
        field,
        value
          .split(",")
          .map((each) => names.get(each) ?? each)
          .join(", "),
      ];
    }),
  );
}
