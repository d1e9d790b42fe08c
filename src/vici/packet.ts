// Packets of VICI: what travels over its socket. One request is answered by one packet, in order; events come in between.
//
//   0  u32 length of what follows, in network order   4  u8 type
//   5  u8 length, name (of requests, registrations and events)   then the message (message.ts)

import { decodeMessage, encodeMessage, type Section, ViciMalformed, writeName } from "./message.ts";

const CMD_REQUEST = 0;
const CMD_RESPONSE = 1;
const CMD_UNKNOWN = 2;
const EVENT_REGISTER = 3;
const EVENT_UNREGISTER = 4;
const EVENT_CONFIRM = 5;
const EVENT_UNKNOWN = 6;
const EVENT = 7;

const LENGTH_BYTES = 4;
/** strongSwan's own limit. */
const MAX_PACKET_BYTES = 512 * 1024;

export type Received =
  | { readonly kind: "response"; readonly message: Section }
  /** charon has no command of that name. */
  | { readonly kind: "unknown command" }
  | { readonly kind: "confirmed" }
  | { readonly kind: "unknown event" }
  | { readonly kind: "event"; readonly name: string; readonly message: Section };

export function requestPacket(command: string, message: Section): Uint8Array {
  return packet(CMD_REQUEST, command, encodeMessage(message));
}

/** Asks for events of a name from now on, or no longer. */
export function eventPacket(event: string, wanted: boolean): Uint8Array {
  return packet(wanted ? EVENT_REGISTER : EVENT_UNREGISTER, event, new Uint8Array());
}

function packet(type: number, name: string, message: Uint8Array): Uint8Array {
  const head = [0, 0, 0, 0, type];
  writeName(head, name);
  const bytes = new Uint8Array(head.length + message.length);
  bytes.set(head);
  bytes.set(message, head.length);
  new DataView(bytes.buffer).setUint32(0, bytes.length - LENGTH_BYTES);
  return bytes;
}

/** Cuts a stream into packets. */
export class PacketReader {
  #rest: Uint8Array = new Uint8Array();

  /** The packets that are whole with these bytes. Throws ViciMalformed. */
  read(bytes: Uint8Array): Received[] {
    let rest = this.#rest.length === 0 ? bytes : concatenated(this.#rest, bytes);
    const packets: Received[] = [];
    while (rest.length >= LENGTH_BYTES) {
      const length = new DataView(rest.buffer, rest.byteOffset).getUint32(0);
      if (length > MAX_PACKET_BYTES)
        throw new ViciMalformed(`packet of ${length} bytes, want ${MAX_PACKET_BYTES} at most`);
      if (rest.length < LENGTH_BYTES + length) break;
      packets.push(decodePacket(rest.subarray(LENGTH_BYTES, LENGTH_BYTES + length)));
      rest = rest.subarray(LENGTH_BYTES + length);
    }
    this.#rest = rest.slice(); // the bytes are the caller's
    return packets;
  }
}

function decodePacket(bytes: Uint8Array): Received {
  const [type, length = 0] = bytes;
  switch (type) {
    case CMD_RESPONSE:
      return { kind: "response", message: decodeMessage(bytes.subarray(1)) };
    case CMD_UNKNOWN:
      return { kind: "unknown command" };
    case EVENT_CONFIRM:
      return { kind: "confirmed" };
    case EVENT_UNKNOWN:
      return { kind: "unknown event" };
    case EVENT: {
      const end = 2 + length;
      if (bytes.length < end) throw new ViciMalformed("an event's name is cut short");
      const name = new TextDecoder().decode(bytes.subarray(2, end));
      return { kind: "event", name, message: decodeMessage(bytes.subarray(end)) };
    }
    default:
      throw new ViciMalformed(`packet of type ${type}`);
  }
}

function concatenated(a: Uint8Array, b: Uint8Array): Uint8Array {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
