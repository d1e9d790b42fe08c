// IPv4 packets in packet memory (RFC 791, 1812): validation, TTL, and the checksums of TCP (RFC 9293) and UDP (RFC 768) in them.
//
// IPv4:  0 u4 version, u4 header length (32-bit words)   1 u8 TOS   2 u16 total length   4 u16 identification
//        6 u16 flags (0x8000 reserved, 0x4000 DF, 0x2000 MF) and fragment offset   8 u8 TTL   9 u8 protocol
//        10 u16 header checksum   12 u32 source   16 u32 destination   20 options
// TCP:   0 u16 source port   2 u16 destination port   4 u32 sequence   8 u32 acknowledgement
//        12 u4 header length (32-bit words), u4 reserved   13 u8 flags   14 u16 window   16 u16 checksum   18 u16 urgent   20 options
// UDP:   0 u16 source port   2 u16 destination port   4 u16 length   6 u16 checksum (0: none)

import { foldSum, type PacketMemory } from "./memory.ts";
import { Verdict } from "./verdict.ts";

export const IPV4_HEADER_BYTES = 20;
export const IP_TOS = 1;
export const IP_TOTAL_LENGTH = 2;
export const IP_ID = 4;
export const IP_FRAGMENT = 6;
export const IP_TTL = 8;
export const IP_PROTOCOL = 9;
export const IP_CHECKSUM = 10;
export const IP_SOURCE = 12;
export const IP_DESTINATION = 16;

export const IP_DF = 0x4000;
export const IP_OFFSET_MASK = 0x1fff;
/** MF or an offset. */
export const IP_FRAGMENTED = 0x3fff;

export const IPPROTO_ICMP = 1;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;

export const TCP_HEADER_BYTES = 20;
export const TCP_SEQUENCE = 4;
export const TCP_ACKNOWLEDGEMENT = 8;
export const TCP_DATA_OFFSET = 12;
export const TCP_FLAGS = 13;
export const TCP_WINDOW = 14;
export const TCP_CHECKSUM = 16;

export const TCP_FIN = 0x01;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;
export const TCP_CWR = 0x80;

export const UDP_HEADER_BYTES = 8;
export const UDP_LENGTH = 4;
export const UDP_CHECKSUM = 6;

/**
 * Whether the `length` bytes at `offset` begin with one whole IPv4 packet; what follows its total length is not part of it.
 * upstream: only looks for 20 bytes; a packet that Linux would refuse on the other side is dropped and counted here.
 */
export function inspectPacket({ view, sum }: PacketMemory, offset: number, length: number): Verdict {
  if (length < IPV4_HEADER_BYTES) return Verdict.short;
  const first = view.getUint8(offset);
  if (first >> 4 !== 4) return Verdict.version;
  const headerLength = (first & 15) << 2;
  if (headerLength < IPV4_HEADER_BYTES || headerLength > length) return Verdict.headerLength;
  const totalLength = view.getUint16(offset + IP_TOTAL_LENGTH);
  if (totalLength < headerLength || totalLength > length) return Verdict.totalLength;
  return sum(offset, headerLength) === 0xffff ? Verdict.good : Verdict.headerChecksum;
}

export function headerLengthAt(view: DataView, packet: number): number {
  return (view.getUint8(packet) & 15) << 2;
}

/** Takes one from the TTL, with the checksum (RFC 1624, equation 3); of a packet that has none left nothing is changed, and false returned. */
export function decrementTtl(view: DataView, packet: number): boolean {
  const word = view.getUint16(packet + IP_TTL);
  if (word < 0x200) return false;
  view.setUint16(packet + IP_TTL, word - 0x100);
  // ~m + m' is 0xffff - 0x100 here.
  const sum = (view.getUint16(packet + IP_CHECKSUM) ^ 0xffff) + 0xfeff;
  view.setUint16(packet + IP_CHECKSUM, foldSum(sum) ^ 0xffff);
  return true;
}

/** Writes the header checksum. */
export function completeHeader({ view, sum }: PacketMemory, packet: number, headerLength: number): void {
  view.setUint16(packet + IP_CHECKSUM, 0);
  view.setUint16(packet + IP_CHECKSUM, sum(packet, headerLength) ^ 0xffff);
}

/** The sum of both addresses and the protocol, to which the length of header and data is added (RFC 9293 3.1). Not folded: less than 2^19. */
export function pseudoSum(view: DataView, packet: number): number {
  return (
    view.getUint16(packet + IP_SOURCE) +
    view.getUint16(packet + IP_SOURCE + 2) +
    view.getUint16(packet + IP_DESTINATION) +
    view.getUint16(packet + IP_DESTINATION + 2) +
    view.getUint8(packet + IP_PROTOCOL)
  );
}

/** Whether the TCP or UDP checksum over `length` bytes after the header is right. */
export function isTransportIntact(
  { view, sum }: PacketMemory,
  packet: number,
  header: number,
  length: number,
): boolean {
  return foldSum(pseudoSum(view, packet) + length + sum(packet + header, length)) === 0xffff;
}
