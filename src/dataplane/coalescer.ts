// From the wire to the TUN device: the inner packets of one round of receiving, those that continue each other put together into one large packet with a virtio
// header, as the kernel's GRO would have done had the wire been its own. Nothing is copied: a large packet is a list of ranges (struct iovec, for writev(2)), the
// first packet whole, of the others the payload, where they were received; only headers are changed.
//
// Every packet's checksum is verified before it is put together with another; one that is wrong is passed on alone, as it is, for its receiver to refuse.
// Packets of one flow keep their order: a packet only joins the newest of its flow's, and the large packets leave in the order of their first.
//
// struct iovec, 16 bytes:   0 u64 address   8 u64 length

import { flowHash, isContinued, isSameFlow, Kind, kindOf, mergeableHeader } from "./flow.ts";
import {
  completeHeader,
  decrementTtl,
  IP_PROTOCOL,
  IP_TOTAL_LENGTH,
  IPPROTO_TCP,
  IPV4_HEADER_BYTES,
  inspectPacket,
  isTransportIntact,
  pseudoSum,
  TCP_CHECKSUM,
  TCP_FLAGS,
  TCP_PSH,
  TCP_SEQUENCE,
  UDP_CHECKSUM,
  UDP_LENGTH,
} from "./ipv4.ts";
import { foldSum, type PacketMemory } from "./memory.ts";
import { Verdict } from "./verdict.ts";
import {
  VNET_CHECKSUM_OFFSET,
  VNET_CHECKSUM_START,
  VNET_FLAGS,
  VNET_GSO_SIZE,
  VNET_GSO_TCPV4,
  VNET_GSO_TYPE,
  VNET_GSO_UDP_L4,
  VNET_HEADER_BYTES,
  VNET_HEADER_LENGTH,
  VNET_NEEDS_CHECKSUM,
} from "./vnet_header.ts";

const IOVEC_BYTES = 16;
/** A virtio header with what it needs to begin at an even offset. */
const VNET_STRIDE = 16;
/** IOV_MAX of limits.h, less the virtio header. */
const MAX_RANGES = 1023;
/** UDP_MAX_SEGMENTS as it was before Linux 6.9: what a receiver may have to send on in one piece. */
const MAX_UDP_PACKETS = 64;
const MAX_PACKET_BYTES = 65_535;
/** Flows that are told apart; a flow that falls on another's place only ends the other's large packet. A power of two. */
const FLOWS = 256;

export interface CoalescerOptions {
  /** Packets of one round at most. */
  readonly packets: number;
  /** Where in memory the coalescer may write headers and ranges: Coalescer.regionBytes(packets). */
  readonly region: number;
  /** The address of the memory's first byte in this process. */
  readonly address: number;
  readonly takes: DeviceTakes;
}

/** What a TUN device takes in one piece, behind a virtio header: TCP, or also UDP (Linux 6.2). One without that header takes whole packets and nothing before them. */
export type DeviceTakes = "packets" | "tcp" | "tcp and udp";

export class Coalescer {
  /** Large packets of this round, after finish(). */
  count = 0;
  /** Packets of this round that joined an earlier one. */
  merged = 0;
  /** Packets of this round that would have continued another but whose TCP or UDP checksum is wrong; they are passed on alone. */
  unverified = 0;

  readonly #memory: PacketMemory;
  readonly #options: CoalescerOptions;
  readonly #tcp: boolean;
  readonly #udp: boolean;
  /** Whether a virtio header stands before each. */
  readonly #virtio: boolean;
  readonly #addressLow: number;
  readonly #addressHigh: number;
  /** Hash of a flow → its newest large packet plus one, while it may grow; 0: none. */
  readonly #open = new Int32Array(FLOWS);
  // One entry for each large packet: where its first packet is, length so far, of both headers, payload of each but the last packet, packets, whether the
  // first packet was verified, first and last range.
  readonly #first: Int32Array;
  readonly #length: Int32Array;
  readonly #header: Int32Array;
  readonly #payload: Int32Array;
  readonly #packets: Int32Array;
  readonly #intact: Uint8Array;
  readonly #last: Int32Array;
  // One entry for each packet: where its range is, its bytes, and the next range of the same large packet; a packet's first range has the number of the packet.
  readonly #rangeStart: Int32Array;
  readonly #rangeLength: Int32Array;
  readonly #rangeNext: Int32Array;
  readonly #head: Int32Array;
  #ranges = 0;
  // After finish().
  readonly #iovec: Int32Array;

  constructor(memory: PacketMemory, options: CoalescerOptions) {
    const { packets, address, takes } = options;
    this.#memory = memory;
    this.#options = options;
    this.#tcp = takes !== "packets";
    this.#udp = takes === "tcp and udp";
    this.#virtio = takes !== "packets";
    this.#addressLow = address % 2 ** 32;
    this.#addressHigh = Math.floor(address / 2 ** 32);
    const array = () => new Int32Array(packets);
    this.#first = array();
    this.#length = array();
    this.#header = array();
    this.#payload = array();
    this.#packets = array();
    this.#intact = new Uint8Array(packets);
    this.#head = array();
    this.#last = array();
    this.#rangeStart = array();
    this.#rangeLength = array();
    this.#rangeNext = array();
    this.#iovec = array();
    memory.bytes.fill(0, options.region, options.region + VNET_STRIDE);
  }

  /** Bytes of the region: a virtio header of zeros for all single packets, one for each large packet, two ranges for each packet. */
  static regionBytes(packets: number): number {
    return VNET_STRIDE * (packets + 1) + IOVEC_BYTES * 2 * packets;
  }

  /** Begins a round; what the last one was made of may be overwritten. */
  begin(): void {
    this.count = 0;
    this.merged = 0;
    this.unverified = 0;
    this.#ranges = 0;
    this.#open.fill(0);
  }

  /**
   * Takes the inner packet of one datagram, whose bytes stay where they are until the round is written. Takes one from its TTL. `Verdict.full`: nothing was
   * done, the round is to be written first.
   */
  add(packet: number, length: number): Verdict {
    if (this.#ranges === this.#options.packets) return Verdict.full;
    const verdict = inspectPacket(this.#memory, packet, length);
    if (verdict !== Verdict.good) return verdict;
    const { view } = this.#memory;
    if (!decrementTtl(view, packet)) return Verdict.expired;
    const kind = kindOf(view, packet, this.#tcp, this.#udp);
    if (kind === Kind.flow) {
      this.#addOfFlow(packet);
    } else {
      if (kind === Kind.fragment) this.#open.fill(0);
      this.#append(packet, 0);
    }
    return Verdict.good;
  }

  #addOfFlow(packet: number): void {
    const { view } = this.#memory;
    const header = mergeableHeader(view, packet);
    const place = flowHash(view, packet) & (FLOWS - 1);
    const large = (this.#open[place] ?? 0) - 1;
    const same = large >= 0 && isSameFlow(view, this.#first[large] ?? 0, packet);
    if (same && header !== 0 && this.#join(large, packet, header, place)) return;
    const grows = header !== 0 && !isLast(view, packet);
    const added = this.#append(packet, header);
    if (grows) this.#open[place] = added + 1;
    else if (same) this.#open[place] = 0;
  }

  /** Puts a packet to the large packet of its flow, if it continues it; a wrong one alone behind it. False: it is still to be put somewhere. */
  #join(large: number, packet: number, header: number, place: number): boolean {
    const memory = this.#memory;
    const { view } = memory;
    const first = this.#first[large] ?? 0;
    const length = this.#length[large] ?? 0;
    const packets = this.#packets[large] ?? 0;
    const payloadSize = this.#payload[large] ?? 0;
    const total = view.getUint16(packet + IP_TOTAL_LENGTH);
    const payload = total - header;
    const tcp = view.getUint8(packet + IP_PROTOCOL) === IPPROTO_TCP;
    if (payload > payloadSize || length + payload > MAX_PACKET_BYTES) return false;
    if (packets === (tcp ? MAX_RANGES : MAX_UDP_PACKETS) || !isContinued(view, first, packet, header, packets))
      return false;
    if (tcp) {
      const sequence = view.getUint32(first + IPV4_HEADER_BYTES + TCP_SEQUENCE) + length - header;
      if (sequence >>> 0 !== view.getUint32(packet + IPV4_HEADER_BYTES + TCP_SEQUENCE)) return false;
    }
    if (this.#intact[large] === 0) {
      if (!isTransportIntact(memory, first, IPV4_HEADER_BYTES, length - IPV4_HEADER_BYTES)) {
        this.unverified++;
        return false;
      }
      this.#intact[large] = 1;
    }
    if (!isTransportIntact(memory, packet, IPV4_HEADER_BYTES, total - IPV4_HEADER_BYTES)) {
      this.unverified++;
      this.#append(packet, 0);
      this.#open[place] = 0;
      return true;
    }
    const range = this.#addRange(packet + header, payload);
    this.#rangeNext[this.#last[large] ?? 0] = range;
    this.#last[large] = range;
    this.#length[large] = length + payload;
    this.#packets[large] = packets + 1;
    this.merged++;
    if (isLast(view, packet)) {
      const flags = first + IPV4_HEADER_BYTES + TCP_FLAGS;
      view.setUint8(flags, view.getUint8(flags) | TCP_PSH);
      this.#open[place] = 0;
    } else if (payload < payloadSize) {
      this.#open[place] = 0;
    }
    return true;
  }

  /** A large packet of one. */
  #append(packet: number, header: number): number {
    const total = this.#memory.view.getUint16(packet + IP_TOTAL_LENGTH);
    const large = this.count++;
    const range = this.#addRange(packet, total);
    this.#first[large] = packet;
    this.#length[large] = total;
    this.#header[large] = header;
    this.#payload[large] = total - header;
    this.#packets[large] = 1;
    this.#intact[large] = 0;
    this.#head[large] = range;
    this.#last[large] = range;
    return large;
  }

  #addRange(start: number, length: number): number {
    const range = this.#ranges++;
    this.#rangeStart[range] = start;
    this.#rangeLength[range] = length;
    this.#rangeNext[range] = -1;
    return range;
  }

  /** Ends a round: writes headers and ranges, and returns how many large packets there are to be written to the TUN device, each by one writev(2). */
  finish(): number {
    const { region, packets } = this.#options;
    let iovec = region + VNET_STRIDE * (packets + 1);
    for (let large = 0; large < this.count; large++) {
      this.#iovec[large] = iovec;
      const single = this.#packets[large] === 1;
      const vnet = single ? region : region + VNET_STRIDE * (large + 1);
      if (!single) this.#writeHeaders(large, vnet);
      if (this.#virtio) iovec = this.#writeRange(iovec, vnet, VNET_HEADER_BYTES);
      for (let range = this.#head[large] ?? -1; range >= 0; range = this.#rangeNext[range] ?? -1) {
        iovec = this.#writeRange(iovec, this.#rangeStart[range] ?? 0, this.#rangeLength[range] ?? 0);
      }
    }
    return this.count;
  }

  /** Where in memory the ranges of a large packet are. */
  rangesAt(large: number): number {
    return this.#iovec[large] ?? 0;
  }

  /** How many they are, the virtio header's included. */
  rangeCount(large: number): number {
    return (this.#packets[large] ?? 0) + (this.#virtio ? 1 : 0);
  }

  /** Bytes of them all: what writev(2) is to return. */
  byteLength(large: number): number {
    return (this.#length[large] ?? 0) + (this.#virtio ? VNET_HEADER_BYTES : 0);
  }

  #writeRange(iovec: number, start: number, length: number): number {
    const { view } = this.#memory;
    const low = this.#addressLow + start;
    view.setUint32(iovec, low, true);
    view.setUint32(iovec + 4, this.#addressHigh + (low >= 2 ** 32 ? 1 : 0), true);
    view.setUint32(iovec + 8, length, true);
    view.setUint32(iovec + 12, 0, true);
    return iovec + IOVEC_BYTES;
  }

  /** The first packet's headers become those of all. */
  #writeHeaders(large: number, vnet: number): void {
    const { view } = this.#memory;
    const packet = this.#first[large] ?? 0;
    const length = this.#length[large] ?? 0;
    const transport = packet + IPV4_HEADER_BYTES;
    const transportLength = length - IPV4_HEADER_BYTES;
    const tcp = view.getUint8(packet + IP_PROTOCOL) === IPPROTO_TCP;
    const field = tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
    view.setUint16(packet + IP_TOTAL_LENGTH, length);
    completeHeader(this.#memory, packet, IPV4_HEADER_BYTES);
    if (!tcp) view.setUint16(transport + UDP_LENGTH, transportLength);
    view.setUint16(transport + field, foldSum(pseudoSum(view, packet) + transportLength));
    view.setUint8(vnet + VNET_FLAGS, VNET_NEEDS_CHECKSUM);
    view.setUint8(vnet + VNET_GSO_TYPE, tcp ? VNET_GSO_TCPV4 : VNET_GSO_UDP_L4);
    view.setUint16(vnet + VNET_HEADER_LENGTH, this.#header[large] ?? 0, true);
    view.setUint16(vnet + VNET_GSO_SIZE, this.#payload[large] ?? 0, true);
    view.setUint16(vnet + VNET_CHECKSUM_START, IPV4_HEADER_BYTES, true);
    view.setUint16(vnet + VNET_CHECKSUM_OFFSET, field, true);
  }
}

/** PSH ends a large packet. */
function isLast(view: DataView, packet: number): boolean {
  if (view.getUint8(packet + IP_PROTOCOL) !== IPPROTO_TCP) return false;
  return (view.getUint8(packet + IPV4_HEADER_BYTES + TCP_FLAGS) & TCP_PSH) !== 0;
}
