// A frame of the TUN device on its way to a peer: virtio header and packet, which may be 64 KiB of TCP or UDP that the kernel left in one piece, or may lack
// its checksum. Read first, changed later, so that a route can be looked for in between:
//
//   readFrame      says what is there and changes nothing; then the peer of `frame.destination` is looked for, or an ICMP error written
//   prepareFrame   takes one from the TTL; a frame with `segmentSize` 0 is then one whole inner packet: `frame.length` bytes at `frame.packet`
//   writeBurst     (burst.ts) writes the inner packets of any other, until `frame.left` is 0

import {
  decrementTtl,
  headerLengthAt,
  IP_CHECKSUM,
  IP_DESTINATION,
  IP_FRAGMENT,
  IP_FRAGMENTED,
  IP_ID,
  IP_PROTOCOL,
  IP_TOTAL_LENGTH,
  IPPROTO_TCP,
  IPPROTO_UDP,
  inspectPacket,
  pseudoSum,
  TCP_CHECKSUM,
  TCP_DATA_OFFSET,
  TCP_FLAGS,
  TCP_HEADER_BYTES,
  TCP_SEQUENCE,
  UDP_CHECKSUM,
  UDP_HEADER_BYTES,
  UDP_LENGTH,
} from "./ipv4.ts";
import type { PacketMemory } from "./memory.ts";
import { Verdict } from "./verdict.ts";
import {
  VNET_CHECKSUM_OFFSET,
  VNET_CHECKSUM_START,
  VNET_FLAGS,
  VNET_GSO_ECN,
  VNET_GSO_NONE,
  VNET_GSO_SIZE,
  VNET_GSO_TCPV4,
  VNET_GSO_TYPE,
  VNET_GSO_UDP_L4,
  VNET_HEADER_BYTES,
  VNET_NEEDS_CHECKSUM,
} from "./vnet_header.ts";

/** One frame; the same object is filled again and again. All offsets but `packet` count from the packet's start. */
export interface Frame {
  /** Where in memory the IPv4 packet begins, and its total length. */
  packet: number;
  length: number;
  /** As an unsigned number. */
  destination: number;
  /** Bytes of each inner packet but the last, headers included; 0 when the packet is sent as it is. */
  segmentSize: number;
  /** Bytes of payload that writeBurst has not yet written. */
  left: number;
  /** IPv4 header alone, and with that of TCP or UDP. */
  networkLength: number;
  headerLength: number;
  /** Where the range of an incomplete checksum begins, and where its field is; 0 and 0 when it is complete. */
  checksumStart: number;
  checksumField: number;
  /** Of the first segment; prepareFrame moves them from the headers, which hold 0 then. */
  id: number;
  sequence: number;
  flags: number;
  /** The sums of both headers (with the pseudo header) without what differs between segments. */
  networkSum: number;
  transportSum: number;
}

export function createFrame(): Frame {
  return {
    packet: 0,
    length: 0,
    destination: 0,
    segmentSize: 0,
    left: 0,
    networkLength: 0,
    headerLength: 0,
    checksumStart: 0,
    checksumField: 0,
    id: 0,
    sequence: 0,
    flags: 0,
    networkSum: 0,
    transportSum: 0,
  };
}

/** Reads the `length` bytes at `offset`, as the TUN device gave them, into `frame`. No inner packet may be longer than `mtu`. */
export function readFrame(memory: PacketMemory, offset: number, length: number, mtu: number, frame: Frame): Verdict {
  const { view } = memory;
  const packet = offset + VNET_HEADER_BYTES;
  const verdict = inspectPacket(memory, packet, length - VNET_HEADER_BYTES);
  if (verdict !== Verdict.good) return verdict;
  frame.packet = packet;
  frame.length = view.getUint16(packet + IP_TOTAL_LENGTH);
  frame.destination = view.getUint32(packet + IP_DESTINATION);
  frame.networkLength = headerLengthAt(view, packet);
  frame.segmentSize = 0;
  frame.left = 0;
  frame.checksumStart = 0;
  frame.checksumField = 0;
  const type = view.getUint8(offset + VNET_GSO_TYPE) & ~VNET_GSO_ECN;
  if (type !== VNET_GSO_NONE) return readSegments(view, offset, type, mtu, frame);
  if ((view.getUint8(offset + VNET_FLAGS) & VNET_NEEDS_CHECKSUM) !== 0) {
    const start = view.getUint16(offset + VNET_CHECKSUM_START, true);
    const field = start + view.getUint16(offset + VNET_CHECKSUM_OFFSET, true);
    if (start < frame.networkLength || field + 2 > frame.length) return Verdict.offload;
    frame.checksumStart = start;
    frame.checksumField = field;
  }
  return frame.length > mtu ? Verdict.tooLarge : Verdict.good;
}

function readSegments(view: DataView, offset: number, type: number, mtu: number, frame: Frame): Verdict {
  const { packet, length, networkLength } = frame;
  const payloadSize = view.getUint16(offset + VNET_GSO_SIZE, true);
  const tcp = type === VNET_GSO_TCPV4;
  if (payloadSize === 0 || (!tcp && type !== VNET_GSO_UDP_L4)) return Verdict.offload;
  if (view.getUint8(packet + IP_PROTOCOL) !== (tcp ? IPPROTO_TCP : IPPROTO_UDP)) return Verdict.offload;
  if ((view.getUint16(packet + IP_FRAGMENT) & IP_FRAGMENTED) !== 0) return Verdict.offload;
  const least = tcp ? TCP_HEADER_BYTES : UDP_HEADER_BYTES;
  if (networkLength + least > length) return Verdict.offload;
  const transportLength = tcp ? (view.getUint8(packet + networkLength + TCP_DATA_OFFSET) >> 4) << 2 : UDP_HEADER_BYTES;
  frame.headerLength = networkLength + transportLength;
  frame.left = length - frame.headerLength;
  if (transportLength < least || frame.left <= 0) return Verdict.offload;
  frame.segmentSize = frame.headerLength + payloadSize;
  return Math.min(frame.segmentSize, length) > mtu ? Verdict.tooLarge : Verdict.good;
}

/** Takes one from the TTL, once for all segments, as each side does (upstream too); completes the checksum of a packet without segments, in place. */
export function prepareFrame(memory: PacketMemory, frame: Frame): Verdict {
  if (!decrementTtl(memory.view, frame.packet)) return Verdict.expired;
  if (frame.segmentSize !== 0) takeApart(memory, frame);
  else if (frame.checksumField !== 0) completeChecksum(memory, frame);
  return Verdict.good;
}

/** The field holds the sum of the pseudo header. */
function completeChecksum(memory: PacketMemory, frame: Frame): void {
  const checksum = memory.sum(frame.packet + frame.checksumStart, frame.length - frame.checksumStart) ^ 0xffff;
  // UDP's 0 says that there is none (RFC 768); to others both are the same number.
  memory.view.setUint16(frame.packet + frame.checksumField, checksum || 0xffff);
}

function takeApart({ view, sum }: PacketMemory, frame: Frame): void {
  const { packet, networkLength, headerLength } = frame;
  const transport = packet + networkLength;
  frame.id = view.getUint16(packet + IP_ID);
  view.setUint16(packet + IP_ID, 0);
  view.setUint16(packet + IP_TOTAL_LENGTH, 0);
  view.setUint16(packet + IP_CHECKSUM, 0);
  frame.networkSum = sum(packet, networkLength);
  if (view.getUint8(packet + IP_PROTOCOL) === IPPROTO_TCP) {
    frame.sequence = view.getUint32(transport + TCP_SEQUENCE);
    frame.flags = view.getUint8(transport + TCP_FLAGS);
    view.setUint32(transport + TCP_SEQUENCE, 0);
    view.setUint8(transport + TCP_FLAGS, 0);
    view.setUint16(transport + TCP_CHECKSUM, 0);
  } else {
    view.setUint16(transport + UDP_LENGTH, 0);
    view.setUint16(transport + UDP_CHECKSUM, 0);
  }
  frame.transportSum = pseudoSum(view, packet) + sum(transport, headerLength - networkLength);
}
