// Which packets may be put together, by Linux's own rules for GRO (net/ipv4/af_inet.c, inet_gro_receive; tcp_offload.c, tcp_gro_receive): both headers are the
// same in all but what counts up, so that the kernel can take the large packet apart again into the same packets. Stricter than GRO: no flags but ACK and PSH.

import {
  IP_DESTINATION,
  IP_DF,
  IP_FRAGMENT,
  IP_FRAGMENTED,
  IP_ID,
  IP_PROTOCOL,
  IP_SOURCE,
  IP_TOS,
  IP_TOTAL_LENGTH,
  IP_TTL,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPV4_HEADER_BYTES,
  TCP_ACK,
  TCP_ACKNOWLEDGEMENT,
  TCP_DATA_OFFSET,
  TCP_FLAGS,
  TCP_HEADER_BYTES,
  TCP_PSH,
  TCP_WINDOW,
  UDP_CHECKSUM,
  UDP_HEADER_BYTES,
  UDP_LENGTH,
} from "./ipv4.ts";

/** Version 4 and a header without options. */
const PLAIN_HEADER = 0x45;

/** What of a packet has an order to keep. `none`: nothing (ICMP and the like). `fragment`: that of an unknown flow. */
export const Kind = { none: 0, fragment: 1, flow: 2 } as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Of a good packet; a flow has its two ports at 20. `tcp`, `udp`: whether such flows are of interest. */
export function kindOf(view: DataView, packet: number, tcp: boolean, udp: boolean): Kind {
  if ((view.getUint16(packet + IP_FRAGMENT) & IP_FRAGMENTED) !== 0) return Kind.fragment;
  const protocol = view.getUint8(packet + IP_PROTOCOL);
  if ((protocol !== IPPROTO_TCP || !tcp) && (protocol !== IPPROTO_UDP || !udp)) return Kind.none;
  // Options move the ports: a packet with them has the order of a fragment.
  if (view.getUint8(packet) !== PLAIN_HEADER) return Kind.fragment;
  const least = protocol === IPPROTO_TCP ? TCP_HEADER_BYTES : UDP_HEADER_BYTES;
  return view.getUint16(packet + IP_TOTAL_LENGTH) < IPV4_HEADER_BYTES + least ? Kind.fragment : Kind.flow;
}

/** Length of both headers of a flow's packet that may be part of a large one, 0 of any other. */
export function mergeableHeader(view: DataView, packet: number): number {
  const total = view.getUint16(packet + IP_TOTAL_LENGTH);
  const transport = packet + IPV4_HEADER_BYTES;
  if (view.getUint8(packet + IP_PROTOCOL) === IPPROTO_TCP) {
    const word = view.getUint16(transport + TCP_DATA_OFFSET);
    const header = IPV4_HEADER_BYTES + ((word >> 12) << 2);
    const flags = word & 0x0fff & ~TCP_PSH;
    return flags === TCP_ACK && header >= IPV4_HEADER_BYTES + TCP_HEADER_BYTES && header < total ? header : 0;
  }
  const header = IPV4_HEADER_BYTES + UDP_HEADER_BYTES;
  const whole = view.getUint16(transport + UDP_LENGTH) === total - IPV4_HEADER_BYTES;
  return whole && header < total && view.getUint16(transport + UDP_CHECKSUM) !== 0 ? header : 0;
}

/** A number of 32 bits that two packets of one flow have in common. */
export function flowHash(view: DataView, packet: number): number {
  const ports = view.getUint32(packet + IPV4_HEADER_BYTES) ^ view.getUint8(packet + IP_PROTOCOL);
  const addresses = view.getUint32(packet + IP_SOURCE) ^ Math.imul(view.getUint32(packet + IP_DESTINATION), 0x85ebca6b);
  const mixed = Math.imul(ports ^ addresses, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}

export function isSameFlow(view: DataView, a: number, b: number): boolean {
  return (
    view.getUint32(a + IP_SOURCE) === view.getUint32(b + IP_SOURCE) &&
    view.getUint32(a + IP_DESTINATION) === view.getUint32(b + IP_DESTINATION) &&
    view.getUint32(a + IPV4_HEADER_BYTES) === view.getUint32(b + IPV4_HEADER_BYTES) &&
    view.getUint8(a + IP_PROTOCOL) === view.getUint8(b + IP_PROTOCOL)
  );
}

/**
 * Whether the headers of a flow's packet, `header` bytes, continue those of `first`, `count` packets earlier in the same flow; the sequence is not looked at.
 * Identification only has a meaning without DF (RFC 6864), and is counted up when the packet is taken apart.
 */
export function isContinued(view: DataView, first: number, packet: number, header: number, count: number): boolean {
  const fragment = view.getUint16(first + IP_FRAGMENT);
  if (
    view.getUint8(first + IP_TOS) !== view.getUint8(packet + IP_TOS) ||
    view.getUint8(first + IP_TTL) !== view.getUint8(packet + IP_TTL) ||
    fragment !== view.getUint16(packet + IP_FRAGMENT)
  )
    return false;
  if ((fragment & IP_DF) === 0) {
    const id = (view.getUint16(first + IP_ID) + count) & 0xffff;
    if (id !== view.getUint16(packet + IP_ID)) return false;
  }
  if (view.getUint8(first + IP_PROTOCOL) === IPPROTO_UDP) return true;
  const a = first + IPV4_HEADER_BYTES;
  const b = packet + IPV4_HEADER_BYTES;
  if (
    view.getUint32(a + TCP_ACKNOWLEDGEMENT) !== view.getUint32(b + TCP_ACKNOWLEDGEMENT) ||
    view.getUint8(a + TCP_DATA_OFFSET) !== view.getUint8(b + TCP_DATA_OFFSET) ||
    view.getUint16(a + TCP_WINDOW) !== view.getUint16(b + TCP_WINDOW)
  )
    return false;
  for (let at = TCP_HEADER_BYTES; at < header - IPV4_HEADER_BYTES; at += 4) {
    if (view.getUint32(a + at) !== view.getUint32(b + at)) return false;
  }
  return (view.getUint8(b + TCP_FLAGS) & TCP_ACK) !== 0;
}
