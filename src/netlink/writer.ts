// Builds netlink messages one after another in one growing buffer, so that hundreds go out in one sendto. Layout:
// message.ts, attribute.ts.
//
//   writer.begin(RTM_NEWNEIGH, flags, 12);  fixed header of 12 bytes, zero
//   writer.setU8(0, AF_INET);               its fields, by offset
//   writer.address(NDA_DST, address);       attributes
//   writer.end();
//
// Sequence number and NLM_F_ACK belong to the exchange, so RequestSocket stamps them when it sends.

import { type Address, familyOf } from "../ip/address.ts";
import type { Mac } from "../ip/mac.ts";
import { writeAddress, writeMac } from "../ip/wire.ts";
import { NLA_HDRLEN } from "./attribute.ts";
import { familyNumber } from "./family.ts";
import { NLM_F_REQUEST, NLMSG_HDRLEN } from "./message.ts";

const encoder = new TextEncoder();

export class MessageWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;
  #body = 0;
  #starts: number[] = [];

  /** Room to begin with, in bytes; it doubles when needed. */
  constructor(initialBytes = 4096) {
    this.#bytes = new Uint8Array(initialBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Number of messages. */
  get count(): number {
    return this.#starts.length;
  }

  /** The messages so far: a view that the next call may leave behind. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Forgets all messages and keeps the buffer. */
  clear(): void {
    this.#length = 0;
    this.#starts = [];
  }

  /** Starts a request whose fixed header of `headerLength` bytes is zero until set. */
  begin(type: number, flags: number, headerLength: number): void {
    const start = this.#length;
    const size = NLMSG_HDRLEN + align(headerLength);
    if (this.#length + size > this.#bytes.length) this.#grow(size);
    this.#bytes.fill(0, start, start + size);
    this.#view.setUint16(start + 4, type, true);
    this.#view.setUint16(start + 6, flags | NLM_F_REQUEST, true);
    this.#starts.push(start);
    this.#body = start + NLMSG_HDRLEN;
    this.#length = start + size;
  }

  end(): void {
    const start = this.#body - NLMSG_HDRLEN;
    this.#view.setUint32(start, this.#length - start, true);
  }

  setU8(offset: number, value: number): void {
    this.#view.setUint8(this.#body + offset, value);
  }

  setU16(offset: number, value: number): void {
    this.#view.setUint16(this.#body + offset, value, true);
  }

  setU32(offset: number, value: number): void {
    this.#view.setUint32(this.#body + offset, value, true);
  }

  /** In network order, 4 or 16 bytes. */
  setAddress(offset: number, address: Address): void {
    writeAddress(this.#bytes, this.#body + offset, address);
  }

  flag(type: number): void {
    this.#attribute(type, 0);
  }

  u8(type: number, value: number): void {
    this.#view.setUint8(this.#attribute(type, 1), value);
  }

  u16(type: number, value: number): void {
    this.#view.setUint16(this.#attribute(type, 2), value, true);
  }

  /** In network order, as ports are. */
  u16be(type: number, value: number): void {
    this.#view.setUint16(this.#attribute(type, 2), value, false);
  }

  /** Also takes negative numbers, in two's complement. */
  u32(type: number, value: number): void {
    const start = this.#length;
    if (this.#length + NLA_HDRLEN + 4 > this.#bytes.length) this.#grow(NLA_HDRLEN + 4);
    this.#view.setUint16(start, NLA_HDRLEN + 4, true);
    this.#view.setUint16(start + 2, type, true);
    this.#view.setUint32(start + NLA_HDRLEN, value, true);
    this.#length = start + NLA_HDRLEN + 4;
  }

  /** Text with its NUL. */
  text(type: number, value: string): void {
    const encoded = encoder.encode(value);
    const at = this.#attribute(type, encoded.length + 1);
    this.#bytes.set(encoded, at);
  }

  /** Text without a NUL, where the kernel takes the length for the end. */
  bareText(type: number, value: string): void {
    this.raw(type, encoder.encode(value));
  }

  address(type: number, address: Address): void {
    // Room for the longer family; what IPv4 does not use is given back.
    const at = this.#attribute(type, 16);
    const length = writeAddress(this.#bytes, at, address);
    if (length === 16) return;
    this.#view.setUint16(at - NLA_HDRLEN, NLA_HDRLEN + length, true);
    this.#length = at + length;
  }

  /** RTA_VIA, struct rtvia: u16 family, then the address. */
  via(type: number, address: Address): void {
    const family = familyOf(address);
    const at = this.#attribute(type, family === "ipv4" ? 6 : 18);
    this.#view.setUint16(at, familyNumber(family), true);
    writeAddress(this.#bytes, at + 2, address);
  }

  mac(type: number, mac: Mac): void {
    writeMac(this.#bytes, this.#attribute(type, 6), mac);
  }

  raw(type: number, value: Uint8Array): void {
    const at = this.#attribute(type, value.length);
    this.#bytes.set(value, at);
  }

  /** Opens a nested attribute; give what it returns to endNested. */
  beginNested(type: number): number {
    return this.#attribute(type, 0) - NLA_HDRLEN;
  }

  /** A struct before the attributes of a nested one: `length` bytes, a multiple of 4. */
  zeros(length: number): void {
    if (this.#length + length > this.#bytes.length) this.#grow(length);
    this.#bytes.fill(0, this.#length, this.#length + length);
    this.#length += length;
  }

  endNested(start: number): void {
    this.#view.setUint16(start, this.#length - start, true);
  }

  /** Bytes at which message `index` starts; at `count`, where the last one ends. */
  startOf(index: number): number {
    return this.#starts[index] ?? this.#length;
  }

  /** Size of the messages from `from` up to, without, `to`. */
  bytesFrom(from: number, to: number): number {
    return this.startOf(to) - this.startOf(from);
  }

  /** Gives message `index` its sequence number and further flags. */
  stamp(index: number, sequence: number, flags: number): void {
    const start = this.startOf(index);
    this.#view.setUint16(start + 6, this.#view.getUint16(start + 6, true) | flags, true);
    this.#view.setUint32(start + 8, sequence, true);
  }

  /**
   * Appends an attribute's header and room for its value, zero in the last 4 bytes (padding and NUL); returns where the
   * value goes.
   */
  #attribute(type: number, length: number): number {
    const start = this.#length;
    const size = (NLA_HDRLEN + length + 3) & ~3;
    if (this.#length + size > this.#bytes.length) this.#grow(size);
    this.#view.setUint32(start + size - 4, 0, true); // before the header, which an empty value shares these bytes with
    this.#view.setUint16(start, NLA_HDRLEN + length, true);
    this.#view.setUint16(start + 2, type, true);
    this.#length = start + size;
    return start + NLA_HDRLEN;
  }

  /** Makes room for `size` bytes more. Called only when there is none: asking for it is what a process does most often here. */
  #grow(size: number): void {
    const grown = new Uint8Array(Math.max(this.#length + size, this.#bytes.length * 2));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** Messages and attributes start at multiples of 4 bytes. */
function align(length: number): number {
  return (length + 3) & ~3;
}
