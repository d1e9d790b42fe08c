// How the underlay passes packets on. In the form "lab" a veth takes super-packets of up to 64 KiB and hands them over whole, which no wire does: it says what
// the processors can push. In the form "wire" the node's interface behaves as a plain network card: the kernel cuts TCP, UDP and tunnelled super-packets to the
// MTU before they leave, and NAPI with GRO joins them again at the receiver. ethtool(8) has the features' names.
//
// veth lets its peer receive by NAPI and GRO only while it has no TCP segmentation itself (veth_skb_is_eligible_for_gro), so the ports of the switch change too.

import type { Form } from "./paths.ts";

/** Every kind of segmentation that veth has by default. */
const SEGMENTATION = [
  ...["tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation"],
  ...["tx-udp-segmentation", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation", "tx-gso-list"],
  ...["tx-gre-segmentation", "tx-gre-csum-segmentation", "tx-ipxip4-segmentation", "tx-ipxip6-segmentation"],
];
/** The Ethernet header that interface statistics count besides the MTU's bytes. */
const HEADER_BYTES = 14;

/** Commands in a node. */
export function nodeCommands(form: Form): string {
  return `${segmentation("eth0", form === "lab")} gro ${form === "wire" ? "on" : "off"}`;
}

/** Commands in the switch, for a port. */
export function portCommands(form: Form, port: string): string {
  return `${segmentation(port, form === "lab")} gro off`;
}

function segmentation(device: string, on: boolean): string {
  // gso stays on: it is the kernel's own cutting, which every network card can count on.
  return `ethtool -K ${device} ${SEGMENTATION.map((name) => `${name} ${on ? "on" : "off"}`).join(" ")} gso on`;
}

export interface Counters {
  readonly packets: number;
  readonly bytes: number;
}

/** What `ip -s -j link show dev eth0` says was sent. */
export function sentCounters(json: string): Counters {
  const [link] = JSON.parse(json) as [{ stats64: { tx: Counters } }?];
  if (!link) throw new Error(`want the statistics of a link, got ${json}`);
  return link.stats64.tx;
}

/** Throws when packets of a bulk transfer were longer than the wire takes: the figure would be the lab's. */
export function requireWire(before: Counters, after: Counters, mtu: number): void {
  const each = (after.bytes - before.bytes) / (after.packets - before.packets);
  if (each > mtu + HEADER_BYTES)
    throw new Error(`eth0 sent ${each.toFixed(0)} B a packet, want at most ${mtu + HEADER_BYTES}`);
}
