// From the TUN device to peers: reads what waits, up to a batch, finds the peer of each, and sends them all at once. A packet that no peer has the destination of
// is answered by ICMP.

import { BURST_BYTES, writeBurst } from "../dataplane/burst.ts";
import { flowHash } from "../dataplane/flow.ts";
import { createFrame, prepareFrame, readFrame } from "../dataplane/frame.ts";
import { ICMP_ERROR_ROOM, IcmpError, writeIcmpError } from "../dataplane/icmp_error.ts";
import { IP_SOURCE } from "../dataplane/ipv4.ts";
import { Verdict } from "../dataplane/verdict.ts";
import { VNET_HEADER_BYTES } from "../dataplane/vnet_header.ts";
import { EAGAIN, EINTR } from "../sys/error.ts";
import { readPacket, sendDatagram } from "../sys/packet_calls.ts";
import { type Arena, IOVEC_BYTES, MMSGHDR_BYTES, SOCKADDR_ADDRESS, SOCKADDR_BYTES } from "./arena.ts";
import { Counter, count } from "./counters.ts";
import type { LoopOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import type { PeerTable } from "./peer_table.ts";

/** Frames of a batch at most, and bytes: what a processor's cache holds. */
const BATCH_FRAMES = 64;
const BATCH_BYTES = 512 << 10;
const FRAME_BYTES = VNET_HEADER_BYTES + 65_535;
/** The bytes behind a packet are read with it by flowHash. */
const ALIGNMENT = 64;
/** ICMP errors a second, and how many may come at once: as Linux' icmp_msgs_per_sec and icmp_msgs_burst. */
const ERRORS_PER_SECOND = 1_000;
const ERRORS_AT_ONCE = 50;

export class Egress {
  readonly #arena: Arena;
  readonly #options: LoopOptions;
  readonly #peers: PeerTable;
  readonly #counters: Float64Array;
  readonly #outbox: Outbox;
  /** Bytes of the virtio header that a device without one leaves out; they are zeros then: nothing is left to do. */
  readonly #headroom: number;
  readonly #frame = createFrame();
  readonly #frames: number;
  readonly #bursts: number;
  readonly #burstsEnd: number;
  readonly #icmp: number;
  readonly #icmpIovec: number;
  readonly #icmpName: number;
  readonly #icmpMessage: number;
  #burstAt: number;
  #errorsAllowed = ERRORS_AT_ONCE;
  #errorsAtMs = 0;

  constructor(arena: Arena, options: LoopOptions, peers: PeerTable, counters: Float64Array) {
    this.#arena = arena;
    this.#options = options;
    this.#peers = peers;
    this.#counters = counters;
    this.#outbox = new Outbox(arena, options, peers, counters);
    this.#headroom = options.takes === "packets" ? VNET_HEADER_BYTES : 0;
    this.#frames = arena.take(BATCH_BYTES + FRAME_BYTES + ALIGNMENT);
    this.#bursts = arena.take(BATCH_BYTES + BURST_BYTES);
    this.#burstsEnd = this.#bursts + BATCH_BYTES + BURST_BYTES;
    this.#burstAt = this.#bursts;
    this.#icmp = arena.take(ICMP_ERROR_ROOM);
    this.#icmpIovec = arena.take(IOVEC_BYTES);
    this.#icmpName = arena.take(SOCKADDR_BYTES);
    this.#icmpMessage = arena.take(MMSGHDR_BYTES);
    arena.message(this.#icmpMessage, this.#icmpName, this.#icmpIovec, 0);
  }

  /** Sends what waits. How many frames that was, or the negative errno with which the device failed. */
  turn(): number {
    const { tun } = this.#options;
    const headroom = this.#headroom;
    const { address, memory } = this.#arena;
    const limit = this.#frames + BATCH_BYTES;
    let at = this.#frames;
    let frames = 0;
    let failure = 0;
    while (frames < BATCH_FRAMES && at < limit) {
      const length = readPacket(tun, address + at + headroom, FRAME_BYTES - headroom);
      if (length < 0) {
        if (length === -EINTR) continue;
        if (length !== -EAGAIN) failure = length;
        break;
      }
      frames++;
      if (headroom > 0) memory.bytes.fill(0, at, at + headroom);
      this.#take(at, headroom + length);
      at = (at + headroom + length + ALIGNMENT) & -ALIGNMENT;
    }
    this.#send();
    return failure < 0 ? failure : frames;
  }

  #send(): void {
    this.#outbox.send();
    this.#burstAt = this.#bursts;
  }

  #take(at: number, length: number): void {
    const { memory } = this.#arena;
    const frame = this.#frame;
    const read = readFrame(memory, at, length, this.#options.mtu, frame);
    if (read !== Verdict.good) {
      count(this.#counters, Counter.fromDevice + read, 1);
      return;
    }
    const peer = this.#peers.find(frame.destination);
    if (peer < 0) {
      count(this.#counters, Counter.noPeer, 1);
      this.#answer(IcmpError.netUnreachable);
      return;
    }
    const flow = flowHash(memory.view, frame.packet);
    const prepared = prepareFrame(memory, frame);
    if (prepared === Verdict.good) this.#put(peer, flow);
    else {
      count(this.#counters, Counter.fromDevice + prepared, 1);
      this.#answer(IcmpError.ttlExceeded);
    }
  }

  #put(peer: number, flow: number): void {
    const { memory } = this.#arena;
    const frame = this.#frame;
    if (!this.#outbox.hasRoom) this.#send();
    if (frame.segmentSize === 0) {
      this.#outbox.add(peer, frame.packet, frame.length, flow);
      return;
    }
    while (frame.left > 0) {
      const behind = this.#outbox.roomBehind(this.#burstAt, peer, frame.segmentSize, flow);
      const joins = behind >= frame.segmentSize;
      if (!joins && !this.#outbox.hasRoom) this.#send();
      const left = this.#burstsEnd - this.#burstAt;
      const bytes = writeBurst(memory, frame, this.#burstAt, joins ? Math.min(behind, left) : left);
      if (bytes === 0) {
        this.#send();
        continue;
      }
      this.#outbox.addBurst(peer, this.#burstAt, bytes, frame.segmentSize, flow);
      this.#burstAt += bytes;
    }
  }

  #answer(error: IcmpError): void {
    const { icmp, ownAddress } = this.#options;
    const { packet } = this.#frame;
    if (icmp < 0 || !this.#mayAnswer()) return;
    const { memory, address } = this.#arena;
    const { view } = memory;
    const bytes = writeIcmpError(memory, error, packet, ownAddress, this.#icmp);
    if (bytes === 0) return;
    this.#errorsAllowed--;
    view.setUint32(this.#icmpName + SOCKADDR_ADDRESS, view.getUint32(packet + IP_SOURCE));
    this.#arena.iovec(this.#icmpIovec, this.#icmp + VNET_HEADER_BYTES, bytes - VNET_HEADER_BYTES);
    if (sendDatagram(icmp, address + this.#icmpMessage) > 0) count(this.#counters, Counter.icmpErrors, 1);
  }

  #mayAnswer(): boolean {
    const now = performance.now();
    const earned = ((now - this.#errorsAtMs) * ERRORS_PER_SECOND) / 1_000;
    this.#errorsAllowed = Math.min(ERRORS_AT_ONCE, this.#errorsAllowed + earned);
    this.#errorsAtMs = now;
    return this.#errorsAllowed >= 1;
  }
}
