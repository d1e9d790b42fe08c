// The ICMP error that a router owes the sender of a packet (RFC 792): no peer has its destination, or its TTL is used up. Written for the TUN device, by which it
// goes to a pod or to a peer.
//
// Never sent about (RFC 1122 3.2.2, RFC 1812 4.3.2.7): an ICMP error, a fragment but the first, a packet to a multicast or broadcast address, and one whose
// source is no single host. Of ICMP types only the known queries are answered, as Linux does.
// upstream: is silent about all of ICMP, so that ping to a subnet without a node says nothing; and about a used-up TTL.
//
//   0 u8 type   1 u8 code   2 u16 checksum   4 u32 unused   8 the packet's beginning

import {
  completeHeader,
  headerLengthAt,
  IP_DESTINATION,
  IP_DF,
  IP_FRAGMENT,
  IP_OFFSET_MASK,
  IP_PROTOCOL,
  IP_SOURCE,
  IP_TOS,
  IP_TOTAL_LENGTH,
  IP_TTL,
  IPPROTO_ICMP,
  IPV4_HEADER_BYTES,
} from "./ipv4.ts";
import type { PacketMemory } from "./memory.ts";
import { VNET_HEADER_BYTES } from "./vnet_header.ts";

/** Type and code as one word. */
export const IcmpError = { netUnreachable: 0x0300, ttlExceeded: 0x0b00 } as const;
export type IcmpError = (typeof IcmpError)[keyof typeof IcmpError];

const ICMP_HEADER_BYTES = 8;
const ICMP_CHECKSUM = 2;
/** As much of the packet as the error holds without being longer than this (RFC 1812 4.3.2.3). upstream: 8 bytes after the header. */
const MAX_ERROR_BYTES = 576;
/** Bytes of virtio header and ICMP error at most. */
export const ICMP_ERROR_ROOM = VNET_HEADER_BYTES + MAX_ERROR_BYTES;
/** Internetwork control, for routers' errors (RFC 1812 4.3.2.5). */
const PRECEDENCE = 0xc0;
/** RFC 1700. */
const TTL = 64;

/** Echo reply, echo, router advertisement and solicitation, timestamp and its reply, information, address mask. */
const QUERIES: readonly number[] = [0, 8, 9, 10, 13, 14, 15, 16, 17, 18];

/**
 * Writes virtio header and ICMP error from `source` about the good packet at `packet` to `target`, and returns their bytes; 0 if the packet must not be
 * answered. Both need ICMP_ERROR_ROOM bytes between them. Whoever calls limits the rate (RFC 1812 4.3.2.8).
 */
export function writeIcmpError(
  memory: PacketMemory,
  error: IcmpError,
  packet: number,
  source: number,
  target: number,
): number {
  const { view, bytes } = memory;
  if (!mayAnswer(view, packet)) return 0;
  const quoted = Math.min(
    view.getUint16(packet + IP_TOTAL_LENGTH),
    MAX_ERROR_BYTES - IPV4_HEADER_BYTES - ICMP_HEADER_BYTES,
  );
  const header = target + VNET_HEADER_BYTES;
  const icmp = header + IPV4_HEADER_BYTES;
  bytes.fill(0, target, icmp + ICMP_HEADER_BYTES);
  view.setUint8(header, 0x45);
  view.setUint8(header + IP_TOS, PRECEDENCE);
  view.setUint16(header + IP_TOTAL_LENGTH, IPV4_HEADER_BYTES + ICMP_HEADER_BYTES + quoted);
  // With it the identification has no use, and may be 0 (RFC 6864).
  view.setUint16(header + IP_FRAGMENT, IP_DF);
  view.setUint8(header + IP_TTL, TTL);
  view.setUint8(header + IP_PROTOCOL, IPPROTO_ICMP);
  view.setUint32(header + IP_SOURCE, source);
  view.setUint32(header + IP_DESTINATION, view.getUint32(packet + IP_SOURCE));
  completeHeader(memory, header, IPV4_HEADER_BYTES);
  view.setUint16(icmp, error);
  bytes.copyWithin(icmp + ICMP_HEADER_BYTES, packet, packet + quoted);
  view.setUint16(icmp + ICMP_CHECKSUM, memory.sum(icmp, ICMP_HEADER_BYTES + quoted) ^ 0xffff);
  return VNET_HEADER_BYTES + IPV4_HEADER_BYTES + ICMP_HEADER_BYTES + quoted;
}

function mayAnswer(view: DataView, packet: number): boolean {
  if ((view.getUint16(packet + IP_FRAGMENT) & IP_OFFSET_MASK) !== 0) return false;
  // 224.0.0.0/3: multicast, reserved, and the limited broadcast.
  if (view.getUint8(packet + IP_DESTINATION) >= 224) return false;
  const network = view.getUint8(packet + IP_SOURCE);
  if (network === 0 || network === 127 || network >= 224) return false;
  if (view.getUint8(packet + IP_PROTOCOL) !== IPPROTO_ICMP) return true;
  const icmp = headerLengthAt(view, packet);
  return icmp < view.getUint16(packet + IP_TOTAL_LENGTH) && QUERIES.includes(view.getUint8(packet + icmp));
}
