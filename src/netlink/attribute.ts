// Reads netlink attributes (linux/netlink.h, struct nlattr): one cursor that is moved, not an object per attribute,
// because a dump of 5,000 peers holds 100,000 of them. Unknown attributes are stepped over; a length that leaves its
// container is a MalformedMessage.
//
//   0  u16 nla_len   header and value, without the padding to 4 bytes that follows
//   2  u16 nla_type  the upper two bits are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER)
//   4  value
//
// Numbers are in host order, which is little-endian on every machine the runtime supports.

import type { Address } from "../ip/address.ts";
import type { Mac } from "../ip/mac.ts";
import { readAddress, readMac } from "../ip/wire.ts";
import { MalformedMessage } from "./error.ts";

export const NLA_HDRLEN = 4;
export const NLA_TYPE_MASK = 0x3fff;

const text = new TextDecoder();

export class AttributeReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #type = 0;
  #start = 0;
  #stop = 0;
  #next: number;
  #end: number;

  /** Reads the attributes from `start` to `end`; `view` shows the same bytes. */
  constructor(bytes: Uint8Array, view: DataView, start: number, end: number) {
    this.#bytes = bytes;
    this.#view = view;
    this.#next = start;
    this.#end = end;
  }

  /** Moves the cursor over another stretch of the same bytes. */
  reset(start: number, end: number): void {
    this.#next = start;
    this.#end = end;
  }

  /** Moves to the next attribute; false at the end. */
  next(): boolean {
    const start = this.#next;
    // Fewer than 4 bytes are padding, as in the kernel's nla_ok().
    if (this.#end - start < NLA_HDRLEN) return false;
    const length = this.#view.getUint16(start, true);
    if (length < NLA_HDRLEN || start + length > this.#end) {
      throw new MalformedMessage(`attribute of ${length} bytes where ${this.#end - start} are left`);
    }
    this.#type = this.#view.getUint16(start + 2, true) & NLA_TYPE_MASK;
    this.#start = start + NLA_HDRLEN;
    this.#stop = start + length;
    this.#next = start + ((length + 3) & ~3);
    return true;
  }

  /**
   * Moves to the next attribute whose type is in `types`, a set of bits: 1 << type. One loop, where next() would be a call for each attribute: a process that
   * lives for milliseconds would not see those compiled.
   */
  nextAmong(types: number): boolean {
    for (let start = this.#next; this.#end - start >= NLA_HDRLEN; start = this.#next) {
      const length = this.#view.getUint16(start, true);
      if (length < NLA_HDRLEN || start + length > this.#end) return this.next(); // which throws
      const type = this.#view.getUint16(start + 2, true) & NLA_TYPE_MASK;
      this.#next = start + ((length + 3) & ~3);
      if (type >= 32 || ((types >>> type) & 1) === 0) continue;
      this.#type = type;
      this.#start = start + NLA_HDRLEN;
      this.#stop = start + length;
      return true;
    }
    return false;
  }

  /** Of the attribute that next() moved to. */
  get type(): number {
    return this.#type;
  }

  /** Bytes of the value. */
  get length(): number {
    return this.#stop - this.#start;
  }

  u8(): number {
    return this.#view.getUint8(this.#at(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#at(2), true);
  }

  /** In network order, as ports are. */
  u16be(): number {
    return this.#view.getUint16(this.#at(2), false);
  }

  u32(): number {
    return this.#view.getUint32(this.#at(4), true);
  }

  i32(): number {
    return this.#view.getInt32(this.#at(4), true);
  }

  /** One field of a struct that is the value: a u32 at `offset`. */
  u32At(offset: number): number {
    return this.#view.getUint32(this.#at(offset + 4) + offset, true);
  }

  /** Text up to the first NUL. */
  text(): string {
    let stop = this.#start;
    while (stop < this.#stop && this.#bytes[stop] !== 0) stop++;
    return text.decode(this.#bytes.subarray(this.#start, stop));
  }

  /** An IP address; undefined when the value has another length than the two families have. */
  address(): Address | undefined {
    const length = this.#stop - this.#start;
    return length === 4 || length === 16 ? readAddress(this.#bytes, this.#start, length) : undefined;
  }

  /** RTA_VIA, struct rtvia: u16 family, then the address. */
  via(): Address | undefined {
    const length = this.#stop - this.#start - 2;
    return length === 4 || length === 16 ? readAddress(this.#bytes, this.#start + 2, length) : undefined;
  }

  /** An Ethernet address; undefined for link layers with another kind (ipip has 4 bytes, InfiniBand 20). */
  mac(): Mac | undefined {
    return this.#stop - this.#start === 6 ? readMac(this.#bytes, this.#start) : undefined;
  }

  /** The attributes that the value, from `offset` on, is made of. */
  nested(offset = 0): AttributeReader {
    return new AttributeReader(this.#bytes, this.#view, this.#start + offset, this.#stop);
  }

  /** A copy of the value. */
  bytes(): Uint8Array {
    return this.#bytes.slice(this.#start, this.#stop);
  }

  #at(size: number): number {
    if (this.#stop - this.#start < size) {
      throw new MalformedMessage(`attribute ${this.type} has ${this.#stop - this.#start} bytes, want ${size}`);
    }
    return this.#start;
  }
}
