// Netlink messages (linux/netlink.h): the header, the flags, and the two messages that close an exchange.
//
//   0  u32 nlmsg_len    header and payload
//   4  u16 nlmsg_type   RTM_* of linux/rtnetlink.h, or NLMSG_*
//   6  u16 nlmsg_flags  NLM_F_*
//   8  u32 nlmsg_seq    the request's, repeated by all its answers
//  12  u32 nlmsg_pid    the socket ("port") that asked; in a notification, who caused the change (0: the kernel itself)
//  16  payload: a fixed header of the message's family, then attributes
//
// A datagram holds any number of messages, each starting at a multiple of 4 bytes.

import { AttributeReader } from "./attribute.ts";
import { type Answer, MalformedMessage } from "./error.ts";

export const NLMSG_HDRLEN = 16;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

export const NLM_F_REQUEST = 0x01;
export const NLM_F_ACK = 0x04;
/** The dump was disturbed by a change: what it said is neither the state before nor after. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
/** In an answer: the request is repeated by its header alone (NETLINK_CAP_ACK). */
export const NLM_F_CAPPED = 0x100;
/** In an answer: attributes NLMSGERR_ATTR_* follow (NETLINK_EXT_ACK). */
export const NLM_F_ACK_TLVS = 0x200;

const NLMSGERR_ATTR_MSG = 1;
const NLMSGERR_ATTR_OFFS = 2;

/** What a change does when the object exists already, or does not. */
export type PutMode = "add" | "replace" | "change" | "append" | "prepend";

/** `ip … add`: must not exist; `replace`: either way; `change`: must exist; `append`, `prepend`: beside the existing ones. */
export const PUT_FLAGS: Readonly<Record<PutMode, number>> = {
  add: NLM_F_CREATE | NLM_F_EXCL,
  replace: NLM_F_CREATE | NLM_F_REPLACE,
  change: NLM_F_REPLACE,
  append: NLM_F_CREATE | NLM_F_APPEND,
  prepend: NLM_F_CREATE,
};

/** Steps through the messages of a datagram. */
export class MessageReader {
  flags = 0;
  sequence = 0;
  portId = 0;
  readonly #view: DataView;
  readonly #attributes: AttributeReader;
  readonly #datagramEnd: number;
  #type = 0;
  #start = 0;
  #body = 0;
  #end = 0;
  #next = 0;

  /** Reads the first `length` bytes of `datagram`. */
  constructor(datagram: Uint8Array, length = datagram.length) {
    this.#view = new DataView(datagram.buffer, datagram.byteOffset, length);
    this.#attributes = new AttributeReader(datagram, this.#view, 0, 0);
    this.#datagramEnd = length;
  }

  /** Moves to the next message; false at the end. */
  next(): boolean {
    const start = this.#next;
    const left = this.#datagramEnd - start;
    if (left <= 0) return false;
    if (left < NLMSG_HDRLEN) throw new MalformedMessage(`${left} bytes where a header of 16 begins`);
    const length = this.#view.getUint32(start, true);
    if (length < NLMSG_HDRLEN || length > left) {
      throw new MalformedMessage(`message of ${length} bytes where ${left} are left`);
    }
    this.#type = this.#view.getUint16(start + 4, true);
    this.flags = this.#view.getUint16(start + 6, true);
    this.sequence = this.#view.getUint32(start + 8, true);
    this.portId = this.#view.getUint32(start + 12, true);
    this.#start = start;
    this.#body = start + NLMSG_HDRLEN;
    this.#end = start + length;
    this.#next = start + ((length + 3) & ~3);
    return true;
  }

  /** RTM_* or NLMSG_* */
  get type(): number {
    return this.#type;
  }

  /** Where in the datagram this message lies. */
  get start(): number {
    return this.#start;
  }

  get end(): number {
    return this.#end;
  }

  /** The attributes after a fixed header of `headerLength` bytes. One cursor per datagram: the next call moves it. */
  attributes(headerLength: number): AttributeReader {
    this.#require(headerLength);
    this.#attributes.reset(this.#body + ((headerLength + 3) & ~3), this.#end);
    return this.#attributes;
  }

  /** Fields of the fixed header, by their offset in it. */
  u8(offset: number): number {
    this.#require(offset + 1);
    return this.#view.getUint8(this.#body + offset);
  }

  u16(offset: number): number {
    this.#require(offset + 2);
    return this.#view.getUint16(this.#body + offset, true);
  }

  u32(offset: number): number {
    this.#require(offset + 4);
    return this.#view.getUint32(this.#body + offset, true);
  }

  i32(offset: number): number {
    this.#require(offset + 4);
    return this.#view.getInt32(this.#body + offset, true);
  }

  /** A copy of the fixed header, for structs that also stand in attributes. */
  header(length: number): Uint8Array {
    this.#require(length);
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + this.#body, length).slice();
  }

  #require(length: number): void {
    if (this.#body + length > this.#end) {
      throw new MalformedMessage(
        `message ${this.type} has ${this.#end - this.#body} bytes after its header, want ${length}`,
      );
    }
  }
}

/**
 * The kernel's verdict in an NLMSG_ERROR or NLMSG_DONE; undefined when all went well.
 *
 *   NLMSG_ERROR:  0 i32 -errno   4 nlmsghdr of the request (16 bytes)   20 the rest of the request unless NLM_F_CAPPED,
 *                 then NLMSGERR_ATTR_*
 *   NLMSG_DONE:   0 i32 -errno   4 NLMSGERR_ATTR_*
 */
export function decodeAnswer(message: MessageReader): Answer | undefined {
  const errno = -message.i32(0);
  if (errno === 0) return undefined;
  let kernelMessage: string | undefined;
  let offset: number | undefined;
  if (message.flags & NLM_F_ACK_TLVS) {
    let headerLength = 4;
    if (message.type === NLMSG_ERROR) headerLength += message.flags & NLM_F_CAPPED ? NLMSG_HDRLEN : message.u32(4);
    const attributes = message.attributes(headerLength);
    while (attributes.next()) {
      if (attributes.type === NLMSGERR_ATTR_MSG) kernelMessage = attributes.text();
      else if (attributes.type === NLMSGERR_ATTR_OFFS) offset = attributes.u32();
    }
  }
  return { errno, kernelMessage, offset };
}
