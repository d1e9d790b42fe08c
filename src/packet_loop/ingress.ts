// From peers to the TUN device: receives what has come, looks at each inner packet, and writes them, those of one flow that continue each other in one piece
// (dataplane/coalescer.ts). A datagram received can itself be many, of one size, when the kernel has put them together (UDP_GRO).

import { Coalescer } from "../dataplane/coalescer.ts";
import { IP_DESTINATION, IP_SOURCE, IPV4_HEADER_BYTES, inspectPacket } from "../dataplane/ipv4.ts";
import { Verdict } from "../dataplane/verdict.ts";
import { EAGAIN, EBADFD, EINTR } from "../sys/error.ts";
import { receiveDatagram, receiveDatagrams, writePacket } from "../sys/packet_calls.ts";
import {
  type Arena,
  CONTROL_BYTES,
  CONTROL_DATA,
  CONTROL_I32,
  CONTROL_TYPE,
  IOVEC_BYTES,
  MMSGHDR_BYTES,
  MSG_CONTROLLEN,
  MSG_LENGTH,
  MSG_NAMELEN,
  SOCKADDR_ADDRESS,
  SOCKADDR_BYTES,
} from "./arena.ts";
import { Counter, count } from "./counters.ts";
import type { LoopOptions } from "./options.ts";
import { maskOf, type PeerTable } from "./peer_table.ts";

/** Datagrams of one call, each of which can be 64 KiB. */
const MESSAGES = 16;
const SLOT_BYTES = 64 << 10;
/** Inner packets of one round. */
const PACKETS = 1_024;
const UDP_GRO = 104;

export class Ingress {
  readonly #arena: Arena;
  readonly #options: LoopOptions;
  readonly #peers: PeerTable;
  readonly #counters: Float64Array;
  readonly #coalescer: Coalescer;
  readonly #networkFirst: number;
  readonly #networkMask: number;
  readonly #messages: number;
  readonly #names: number;
  readonly #controls: number;
  readonly #slots: number;
  /** The negative errno with which the device is gone, or the socket failed after something had come. */
  #failure = 0;

  constructor(arena: Arena, options: LoopOptions, peers: PeerTable, counters: Float64Array) {
    this.#arena = arena;
    this.#options = options;
    this.#peers = peers;
    this.#counters = counters;
    this.#networkFirst = options.network.first;
    this.#networkMask = maskOf(options.network.length);
    this.#messages = arena.take(MMSGHDR_BYTES * MESSAGES);
    this.#names = arena.take(SOCKADDR_BYTES * MESSAGES);
    this.#controls = arena.take(CONTROL_BYTES * MESSAGES);
    const iovecs = arena.take(IOVEC_BYTES * MESSAGES);
    this.#slots = arena.take(SLOT_BYTES * MESSAGES);
    for (let message = 0; message < MESSAGES; message++) {
      const iovec = iovecs + message * IOVEC_BYTES;
      arena.iovec(iovec, this.#slots + message * SLOT_BYTES, SLOT_BYTES);
      arena.message(
        this.#messages + message * MMSGHDR_BYTES,
        this.#names + message * SOCKADDR_BYTES,
        iovec,
        this.#controls + message * CONTROL_BYTES,
      );
      this.#reset(message);
    }
    this.#coalescer = new Coalescer(arena.memory, {
      packets: PACKETS,
      region: arena.take(Coalescer.regionBytes(PACKETS)),
      address: arena.address,
      takes: options.takes,
    });
  }

  /** Delivers what has come. How many datagrams that was, or the negative errno with which socket or device failed. */
  turn(): number {
    const messages = this.#messages;
    const { view } = this.#arena.memory;
    const received = this.#receive();
    if (received < 0) return received === -EAGAIN || received === -EINTR ? 0 : received;
    this.#coalescer.begin();
    for (let message = 0; message < received; message++) {
      const header = messages + message * MMSGHDR_BYTES;
      const length = view.getUint32(header + MSG_LENGTH, true);
      const sender = view.getUint32(this.#names + message * SOCKADDR_BYTES + SOCKADDR_ADDRESS);
      const control = this.#controls + message * CONTROL_BYTES;
      const many =
        view.getUint32(header + MSG_CONTROLLEN, true) >= CONTROL_I32 &&
        view.getInt32(control + CONTROL_TYPE, true) === UDP_GRO;
      const size = (many && view.getInt32(control + CONTROL_DATA, true)) || length;
      this.#split(this.#slots + message * SLOT_BYTES, length, size, sender);
      this.#reset(message);
    }
    this.#write();
    return this.#failure < 0 ? this.#failure : received;
  }

  /** How many messages were filled, or the negative errno. */
  #receive(): number {
    const { udp, receivesMany } = this.#options;
    const { address, memory } = this.#arena;
    if (receivesMany) return receiveDatagrams(udp, address + this.#messages, MESSAGES);
    for (let message = 0; message < MESSAGES; message++) {
      const header = this.#messages + message * MMSGHDR_BYTES;
      const length = receiveDatagram(udp, address + header);
      if (length < 0) {
        if (message === 0) return length;
        if (length !== -EAGAIN && length !== -EINTR) this.#failure = length;
        return message;
      }
      memory.view.setUint32(header + MSG_LENGTH, length, true);
    }
    return MESSAGES;
  }

  #reset(message: number): void {
    const { view } = this.#arena.memory;
    const header = this.#messages + message * MMSGHDR_BYTES;
    view.setUint32(header + MSG_NAMELEN, SOCKADDR_BYTES, true);
    view.setUint32(header + MSG_CONTROLLEN, CONTROL_BYTES, true);
  }

  #split(start: number, length: number, size: number, sender: number): void {
    if (length === 0) {
      count(this.#counters, Counter.fromPeers + Verdict.short, 1);
      return;
    }
    if (this.#options.strict && !this.#peers.isSender(sender)) {
      count(this.#counters, Counter.unknownSender, Math.ceil(length / size));
      return;
    }
    const end = start + length;
    let packets = 0;
    let bytes = 0;
    for (let at = start; at < end; at += size) {
      const each = Math.min(size, end - at);
      if (!this.#add(at, each, sender)) continue;
      packets++;
      bytes += each;
    }
    count(this.#counters, Counter.receivedPackets, packets);
    count(this.#counters, Counter.receivedBytes, bytes);
  }

  /** Whether the packet is on its way. */
  #add(packet: number, length: number, sender: number): boolean {
    const { view } = this.#arena.memory;
    if (length >= IPV4_HEADER_BYTES) {
      const destination = view.getUint32(packet + IP_DESTINATION);
      if ((destination & this.#networkMask) >>> 0 !== this.#networkFirst)
        return this.#foreign(packet, length, Counter.foreignDestination);
      if (this.#options.strict) {
        const peer = this.#peers.find(view.getUint32(packet + IP_SOURCE));
        if (peer < 0 || this.#peers.address[peer] !== sender)
          return this.#foreign(packet, length, Counter.foreignSource);
      }
    }
    let verdict = this.#coalescer.add(packet, length);
    if (verdict === Verdict.full) {
      this.#write();
      this.#coalescer.begin();
      verdict = this.#coalescer.add(packet, length);
    }
    if (verdict === Verdict.good) return true;
    count(this.#counters, Counter.fromPeers + verdict, 1);
    return false;
  }

  /** What is no good packet has no addresses: it is counted as what it is. */
  #foreign(packet: number, length: number, counter: number): boolean {
    const verdict = inspectPacket(this.#arena.memory, packet, length);
    count(this.#counters, verdict === Verdict.good ? counter : Counter.fromPeers + verdict, 1);
    return false;
  }

  #write(): void {
    const coalescer = this.#coalescer;
    const { address } = this.#arena;
    const { tun } = this.#options;
    const large = coalescer.finish();
    let refused = 0;
    for (let number = 0; number < large; number++) {
      const written = writePacket(tun, address + coalescer.rangesAt(number), coalescer.rangeCount(number));
      if (written > 0) continue;
      refused++;
      if (written === -EBADFD) this.#failure = written;
    }
    count(this.#counters, Counter.writes, large - refused);
    if (refused > 0) count(this.#counters, Counter.deviceRefused, refused);
  }
}
