// Inner packets on their way to peers, as messages of sendmmsg(2): packets to one peer of one size become one message with UDP_SEGMENT, which the kernel takes through
// its stack in one piece; the last packet of a message may be shorter. Packets of several flows are put together, but those of one flow keep their order: a packet never joins a
// message before the one that has its flow's last packet.
//
// A device that sends too slowly keeps the socket's buffer full. It is waited for, but never for long: the loop has other things to do, and what stands still for long
// is congestion, which packets are dropped for.

import { BURST_BYTES, BURST_SEGMENTS } from "../dataplane/burst.ts";
import { EAGAIN, EINTR } from "../sys/error.ts";
import { pollFiles, sendDatagram, sendDatagrams } from "../sys/packet_calls.ts";
import {
  type Arena,
  CONTROL_BYTES,
  CONTROL_DATA,
  CONTROL_LEVEL,
  CONTROL_TYPE,
  CONTROL_U16,
  IOVEC_BYTES,
  MMSGHDR_BYTES,
  MSG_CONTROLLEN,
  MSG_IOVLEN,
  SOCKADDR_ADDRESS,
  SOCKADDR_BYTES,
  SOCKADDR_PORT,
} from "./arena.ts";
import { Counter, count } from "./counters.ts";
import type { LoopOptions } from "./options.ts";
import type { PeerTable } from "./peer_table.ts";

const MESSAGES = 64;
/** Messages that are looked at for one whose last packet a packet can be. */
const LOOK_BACK = 16;
/** Places of the two hash tables; a power of two. What falls on another's place is only not put together. */
const PLACES = 256;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const POLLFD_BYTES = 8;
const POLLOUT = 4;

export class Outbox {
  readonly #arena: Arena;
  readonly #udp: number;
  readonly #peers: PeerTable;
  readonly #counters: Float64Array;
  /** Packets in a message at most. */
  readonly #most: number;
  readonly #sendsMany: boolean;
  readonly #messages: number;
  readonly #names: number;
  readonly #iovecs: number;
  readonly #controls: number;
  /** One more message, for what is sent one by one. */
  readonly #single: number;
  readonly #singleName: number;
  readonly #singleIovec: number;
  readonly #pollfd: number;
  readonly #longestWaitMs: number;
  /** It has been waited for room in vain, and nothing was sent since. */
  #full = false;
  #used = 0;
  // One entry for each message: its peer, size of its packets, how many they are, bytes, ranges, and whether another may join.
  readonly #peer = new Int32Array(MESSAGES);
  readonly #size = new Int32Array(MESSAGES);
  readonly #packets = new Int32Array(MESSAGES);
  readonly #bytes = new Int32Array(MESSAGES);
  readonly #ranges = new Int32Array(MESSAGES);
  readonly #open = new Uint8Array(MESSAGES);
  // Number of a message plus one; 0: none. By peer and size, and the last message of each flow.
  readonly #bySize = new Uint8Array(PLACES);
  readonly #byFlow = new Uint8Array(PLACES);
  /** The last burst, as long as all of its packets have their full size, and where it ends. */
  #burst = -1;
  #burstEnd = 0;

  constructor(
    arena: Arena,
    options: Pick<LoopOptions, "udp" | "sendsSegments" | "sendsMany" | "longestSleepMs">,
    peers: PeerTable,
    counters: Float64Array,
  ) {
    this.#arena = arena;
    this.#udp = options.udp;
    this.#sendsMany = options.sendsMany;
    this.#peers = peers;
    this.#counters = counters;
    this.#longestWaitMs = options.longestSleepMs;
    this.#most = options.sendsSegments ? BURST_SEGMENTS : 1;
    this.#messages = arena.take(MMSGHDR_BYTES * (MESSAGES + 1));
    this.#names = arena.take(SOCKADDR_BYTES * (MESSAGES + 1));
    this.#controls = arena.take(CONTROL_BYTES * (MESSAGES + 1));
    this.#iovecs = arena.take(IOVEC_BYTES * (MESSAGES * BURST_SEGMENTS + 1));
    this.#pollfd = arena.take(POLLFD_BYTES);
    const { view } = arena.memory;
    view.setInt32(this.#pollfd, options.udp, true);
    view.setInt16(this.#pollfd + 4, POLLOUT, true);
    for (let message = 0; message <= MESSAGES; message++) {
      const control = this.#controls + message * CONTROL_BYTES;
      arena.message(
        this.#messages + message * MMSGHDR_BYTES,
        this.#names + message * SOCKADDR_BYTES,
        this.#iovecs + message * BURST_SEGMENTS * IOVEC_BYTES,
        control,
      );
      view.setUint32(control, CONTROL_U16, true);
      view.setInt32(control + CONTROL_LEVEL, SOL_UDP, true);
      view.setInt32(control + CONTROL_TYPE, UDP_SEGMENT, true);
    }
    this.#single = this.#messages + MESSAGES * MMSGHDR_BYTES;
    this.#singleName = this.#names + MESSAGES * SOCKADDR_BYTES;
    this.#singleIovec = this.#iovecs + MESSAGES * BURST_SEGMENTS * IOVEC_BYTES;
  }

  /** Whether a burst or packet can be put in without sending first. */
  get hasRoom(): boolean {
    return this.#used < MESSAGES;
  }

  /** Puts in one packet, which stays where it is until `send`. `flow`: a number that packets of one flow have in common. */
  add(peer: number, packet: number, length: number, flow: number): void {
    const flowPlace = flow & (PLACES - 1);
    const message = this.#messageFor(peer, length, this.#byFlow[flowPlace] ?? 0);
    const range = this.#ranges[message] ?? 0;
    const iovec = this.#iovecs + (message * BURST_SEGMENTS + range) * IOVEC_BYTES;
    this.#arena.iovec(iovec, packet, length);
    this.#ranges[message] = range + 1;
    this.#packets[message] = range + 1;
    this.#bytes[message] = (this.#bytes[message] ?? 0) + length;
    if (length < (this.#size[message] ?? 0) || range + 1 === this.#most) this.#open[message] = 0;
    this.#byFlow[flowPlace] = message + 1;
  }

  /** The message of the peer and size that is open, else one whose last packet this can be, else a new one. `earliest`: number plus one. */
  #messageFor(peer: number, length: number, earliest: number): number {
    const place = (peer * 37 + length) & (PLACES - 1);
    const same = (this.#bySize[place] ?? 0) - 1;
    if (same >= 0 && same + 1 >= earliest && this.#size[same] === length && this.#takes(same, peer, length))
      return same;
    const until = Math.max(0, earliest - 1, this.#used - LOOK_BACK);
    for (let message = this.#used - 1; message >= until; message--) {
      if (this.#takes(message, peer, length)) return message;
    }
    const message = this.#begin(peer, length);
    this.#bySize[place] = message + 1;
    return message;
  }

  /** Bytes that the burst which ends at `at` can still take of packets of this peer, size and flow; 0 when it cannot. */
  roomBehind(at: number, peer: number, size: number, flow: number): number {
    const message = this.#burst;
    if (message < 0 || this.#burstEnd !== at || this.#peer[message] !== peer || this.#size[message] !== size) return 0;
    if (message + 1 < (this.#byFlow[flow & (PLACES - 1)] ?? 0)) return 0;
    const packets = this.#packets[message] ?? 0;
    return Math.min((BURST_SEGMENTS - packets) * size, BURST_BYTES - (this.#bytes[message] ?? 0));
  }

  /** Puts in packets that lie one behind the other, all `size` long but the last; behind the last burst, if that has room behind it. */
  addBurst(peer: number, start: number, bytes: number, size: number, flow: number): void {
    if (this.#most === 1) {
      for (let at = start; at < start + bytes; at += size) {
        if (this.#used === MESSAGES) this.send();
        this.add(peer, at, Math.min(size, start + bytes - at), flow);
      }
      return;
    }
    const joins = this.roomBehind(start, peer, size, flow) >= bytes;
    const message = joins ? this.#burst : this.#begin(peer, size);
    const total = (this.#bytes[message] ?? 0) + bytes;
    this.#arena.iovec(this.#iovecs + message * BURST_SEGMENTS * IOVEC_BYTES, start + bytes - total, total);
    this.#ranges[message] = 1;
    this.#packets[message] = Math.ceil(total / size);
    this.#bytes[message] = total;
    this.#open[message] = 0;
    this.#burst = total % size === 0 ? message : -1;
    this.#burstEnd = start + bytes;
    this.#byFlow[flow & (PLACES - 1)] = message + 1;
  }

  #takes(message: number, peer: number, length: number): boolean {
    return (
      this.#open[message] === 1 &&
      this.#peer[message] === peer &&
      (this.#size[message] ?? 0) >= length &&
      (this.#bytes[message] ?? 0) + length <= BURST_BYTES
    );
  }

  #begin(peer: number, size: number): number {
    const message = this.#used++;
    this.#peer[message] = peer;
    this.#size[message] = size;
    this.#packets[message] = 0;
    this.#bytes[message] = 0;
    this.#ranges[message] = 0;
    this.#open[message] = this.#most > 1 ? 1 : 0;
    const name = this.#names + message * SOCKADDR_BYTES;
    this.#address(name, peer);
    return message;
  }

  #address(name: number, peer: number): void {
    const { view } = this.#arena.memory;
    view.setUint16(name + SOCKADDR_PORT, this.#peers.port[peer] ?? 0);
    view.setUint32(name + SOCKADDR_ADDRESS, this.#peers.address[peer] ?? 0);
  }

  /** Sends all that was put in. */
  send(): void {
    const used = this.#used;
    if (used === 0) return;
    const { view } = this.#arena.memory;
    let packets = 0;
    let bytes = 0;
    for (let message = 0; message < used; message++) {
      const header = this.#messages + message * MMSGHDR_BYTES;
      view.setUint32(header + MSG_IOVLEN, this.#ranges[message] ?? 0, true);
      const many = (this.#packets[message] ?? 0) > 1;
      view.setUint32(header + MSG_CONTROLLEN, many ? CONTROL_BYTES : 0, true);
      if (many) view.setUint16(this.#controls + message * CONTROL_BYTES + CONTROL_DATA, this.#size[message] ?? 0, true);
      packets += this.#packets[message] ?? 0;
      bytes += this.#bytes[message] ?? 0;
    }
    count(this.#counters, Counter.sentMessages, used);
    count(this.#counters, Counter.sentPackets, packets);
    count(this.#counters, Counter.sentBytes, bytes);
    let until = 0;
    for (let done = 0; done < used; ) {
      const first = this.#arena.address + this.#messages + done * MMSGHDR_BYTES;
      const sent = this.#sendsMany ? sendDatagrams(this.#udp, first, used - done) : sendDatagram(this.#udp, first);
      if (sent > 0) {
        done += sent;
        this.#full = false;
      } else if (sent === -EAGAIN) {
        until ||= performance.now() + this.#longestWaitMs;
        if (!this.#roomBefore(until)) while (done < used) this.#dropped(done++);
      } else if (sent !== -EINTR) this.#refused(done++);
    }
    this.#used = 0;
    this.#bySize.fill(0);
    this.#burst = -1;
    this.#byFlow.fill(0);
  }

  /** Waits for room in the socket's buffer. In vain it does so once only, until something was sent. */
  #roomBefore(until: number): boolean {
    const restMs = Math.ceil(until - performance.now());
    if (restMs <= 0) this.#full = true;
    if (!this.#full) pollFiles(this.#arena.address + this.#pollfd, 1, restMs);
    return !this.#full;
  }

  #dropped(message: number): void {
    this.#notSent(this.#packets[message] ?? 0, this.#bytes[message] ?? 0);
  }

  /** A message of many packets is refused where one of them would be fragmented, or where the device cannot have its checksum; one by one they go. */
  #refused(message: number): void {
    const packets = this.#packets[message] ?? 0;
    if (packets === 1) {
      this.#dropped(message);
      return;
    }
    const { view } = this.#arena.memory;
    const iovecs = this.#iovecs + message * BURST_SEGMENTS * IOVEC_BYTES;
    const size = this.#size[message] ?? 0;
    const burst = this.#ranges[message] === 1;
    this.#address(this.#singleName, this.#peer[message] ?? 0);
    view.setUint32(this.#single + MSG_IOVLEN, 1, true);
    view.setUint32(this.#single + MSG_CONTROLLEN, 0, true);
    const { bytes } = this.#arena.memory;
    let left = this.#bytes[message] ?? 0;
    for (let packet = 0; packet < packets; packet++) {
      const iovec = burst ? iovecs : iovecs + packet * IOVEC_BYTES;
      bytes.copyWithin(this.#singleIovec, iovec, iovec + IOVEC_BYTES);
      const length = burst ? Math.min(size, left) : view.getUint32(iovec + 8, true);
      view.setUint32(this.#singleIovec + 8, length, true);
      left -= length;
      count(this.#counters, Counter.sentSingly, 1);
      let sent: number;
      do sent = sendDatagram(this.#udp, this.#arena.address + this.#single);
      while (sent === -EINTR);
      if (sent < 0) this.#notSent(1, length);
      if (burst) this.#advance(iovec, length);
    }
  }

  /** Moves the start of a range. */
  #advance(iovec: number, by: number): void {
    const { view } = this.#arena.memory;
    const low = view.getUint32(iovec, true) + by;
    view.setUint32(iovec, low, true);
    if (low >= 2 ** 32) view.setUint32(iovec + 4, view.getUint32(iovec + 4, true) + 1, true);
  }

  #notSent(packets: number, bytes: number): void {
    count(this.#counters, Counter.sendFailed, packets);
    count(this.#counters, Counter.sentPackets, -packets);
    count(this.#counters, Counter.sentBytes, -bytes);
  }
}
