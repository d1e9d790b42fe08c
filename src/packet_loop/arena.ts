// Packet memory shared out, and the structures of the kernel's interface written into it (sys/packet_calls.ts has their layouts). Everything is made once, so that
// the loop itself only changes what differs from packet to packet.

import type { PacketMemory } from "../dataplane/memory.ts";

export const MMSGHDR_BYTES = 64;
export const MSG_NAMELEN = 8;
export const MSG_IOVLEN = 24;
export const MSG_CONTROLLEN = 40;
export const MSG_LENGTH = 56;
export const IOVEC_BYTES = 16;
export const SOCKADDR_BYTES = 16;
export const SOCKADDR_PORT = 2;
export const SOCKADDR_ADDRESS = 4;
/** A control message with an int in it, padded. */
export const CONTROL_BYTES = 24;
export const CONTROL_LEVEL = 8;
export const CONTROL_TYPE = 12;
export const CONTROL_DATA = 16;
/** Length of a control message with 16 or 32 bits in it. */
export const CONTROL_U16 = 18;
export const CONTROL_I32 = 20;

const MSG_NAME = 0;
const MSG_IOV = 16;
const MSG_CONTROL = 32;
const AF_INET = 2;
const ALIGNMENT = 64;

export class Arena {
  readonly memory: PacketMemory;
  /** The address of the memory's first byte. */
  readonly address: number;
  readonly #low: number;
  readonly #high: number;
  #used = 0;

  constructor(memory: PacketMemory, address: number) {
    this.memory = memory;
    this.address = address;
    this.#low = address % 2 ** 32;
    this.#high = Math.floor(address / 2 ** 32);
  }

  /** Where `bytes` bytes are that nobody else has. */
  take(bytes: number): number {
    const at = this.#used;
    this.#used = Math.ceil((at + bytes) / ALIGNMENT) * ALIGNMENT;
    if (this.#used > this.memory.bytes.length) throw new RangeError(`Packet memory has no ${bytes} bytes left`);
    return at;
  }

  /** Writes the address of `offset` at `at`. */
  point(at: number, offset: number): void {
    const { view } = this.memory;
    const low = this.#low + offset;
    view.setUint32(at, low, true);
    view.setUint32(at + 4, low >= 2 ** 32 ? this.#high + 1 : this.#high, true);
  }

  iovec(at: number, offset: number, length: number): void {
    this.point(at, offset);
    this.memory.view.setUint32(at + 8, length, true);
  }

  /** A struct mmsghdr with an IPv4 address as its name; how many iovecs and how much control it has is for whoever uses it. */
  message(at: number, name: number, iovecs: number, control: number): void {
    const { view } = this.memory;
    this.point(at + MSG_NAME, name);
    view.setUint32(at + MSG_NAMELEN, SOCKADDR_BYTES, true);
    this.point(at + MSG_IOV, iovecs);
    view.setUint32(at + MSG_IOVLEN, 1, true);
    this.point(at + MSG_CONTROL, control);
    view.setUint16(name, AF_INET, true);
  }
}
