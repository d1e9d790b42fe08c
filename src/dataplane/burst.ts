// The inner packets of a large frame, laid out for one message with UDP_SEGMENT (udp(7), linux/udp.h): what the kernel's own segmentation would make of it
// (net/ipv4/af_inet.c, tcp_offload.c, udp_offload.c). Identification counts up, FIN and PSH stay with the last segment, CWR with the first, and every checksum
// is filled in, so that any peer can take them.

import type { Frame } from "./frame.ts";
import {
  IP_CHECKSUM,
  IP_ID,
  IP_PROTOCOL,
  IP_TOTAL_LENGTH,
  IPPROTO_TCP,
  TCP_CHECKSUM,
  TCP_CWR,
  TCP_FIN,
  TCP_FLAGS,
  TCP_PSH,
  TCP_SEQUENCE,
  UDP_CHECKSUM,
  UDP_LENGTH,
} from "./ipv4.ts";
import { foldSum, type PacketMemory } from "./memory.ts";

/** Datagrams in one message with UDP_SEGMENT: UDP_MAX_SEGMENTS of linux/udp.h, 128 since Linux 6.9. */
export const BURST_SEGMENTS = 64;
/** Bytes of one message with UDP_SEGMENT: the kernel counts them as one IPv4 packet of 65,535 with its two headers before it segments them. */
export const BURST_BYTES = 65_507;

/**
 * Writes the next inner packets of a prepared frame one behind the other at `target`, and returns their bytes: as many packets as a message may have and as
 * fit into `room` bytes; 0 when none does. All are `frame.segmentSize` long but the last of the frame, which may be shorter. The frame must not overlap.
 */
export function writeBurst(memory: PacketMemory, frame: Frame, target: number, room: number): number {
  const { view } = memory;
  const { packet, headerLength, networkLength, segmentSize } = frame;
  const tcp = view.getUint8(packet + IP_PROTOCOL) === IPPROTO_TCP;
  const payloadSize = segmentSize - headerLength;
  const limit = target + Math.min(room, BURST_BYTES, BURST_SEGMENTS * segmentSize);
  let done = frame.length - headerLength - frame.left;
  let id = frame.id + done / payloadSize;
  let at = target;
  while (frame.left > 0) {
    const payload = Math.min(payloadSize, frame.left);
    const size = headerLength + payload;
    if (at + size > limit) break;
    memory.copySum(at, packet, headerLength);
    const payloadSum = memory.copySum(at + headerLength, packet + headerLength + done, payload);
    id &= 0xffff;
    view.setUint16(at + IP_TOTAL_LENGTH, size);
    view.setUint16(at + IP_ID, id);
    view.setUint16(at + IP_CHECKSUM, foldSum(frame.networkSum + size + id) ^ 0xffff);
    const sum = frame.transportSum + size - networkLength + payloadSum;
    if (tcp) writeTcp(view, at + networkLength, frame, done, payload === frame.left, sum);
    else writeUdp(view, at + networkLength, size - networkLength, sum);
    id++;
    done += payload;
    frame.left -= payload;
    at += size;
  }
  return at - target;
}

function writeTcp(view: DataView, header: number, frame: Frame, done: number, last: boolean, partialSum: number): void {
  const sequence = (frame.sequence + done) >>> 0;
  const flags = frame.flags & ~(last ? 0 : TCP_FIN | TCP_PSH) & ~(done === 0 ? 0 : TCP_CWR);
  view.setUint32(header + TCP_SEQUENCE, sequence);
  view.setUint8(header + TCP_FLAGS, flags);
  view.setUint16(header + TCP_CHECKSUM, foldSum(partialSum + (sequence >>> 16) + (sequence & 0xffff) + flags) ^ 0xffff);
}

function writeUdp(view: DataView, header: number, length: number, partialSum: number): void {
  view.setUint16(header + UDP_LENGTH, length);
  // 0 would say that there is none (RFC 768).
  view.setUint16(header + UDP_CHECKSUM, foldSum(partialSum + length) ^ 0xffff || 0xffff);
}
