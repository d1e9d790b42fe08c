// Messages of VICI, strongSwan's control interface (src/libcharon/plugins/vici/README.md of strongSwan): a tree of sections, lists and texts, as a stream of
// elements. Names and texts are UTF-8; numbers and yes/no are texts too.
//
//   u8 element, then
//   1 section start   u8 length, name
//   2 section end
//   3 key and value   u8 length, name, u16 length, value
//   4 list start      u8 length, name
//   5 list item       u16 length, value
//   6 list end
//
// All numbers are in network order.

/** A value that is undefined is left out. */
export interface Section {
  readonly [name: string]: ViciValue | undefined;
}

export type ViciValue = string | readonly string[] | Section;

export class ViciMalformed extends Error {
  constructor(what: string) {
    super(`cannot decode VICI message: ${what}`);
    this.name = "ViciMalformed";
  }
}

const SECTION_START = 1;
const SECTION_END = 2;
const KEY_VALUE = 3;
const LIST_START = 4;
const LIST_ITEM = 5;
const LIST_END = 6;

/** charon's own limit on the nesting of what it answers is below this. */
const MAX_DEPTH = 32;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeMessage(message: Section): Uint8Array {
  const bytes: number[] = [];
  writeSection(bytes, message);
  return Uint8Array.from(bytes);
}

function writeSection(bytes: number[], section: Section): void {
  for (const [name, value] of Object.entries(section)) {
    if (value === undefined) continue;
    if (typeof value === "string") {
      bytes.push(KEY_VALUE);
      writeName(bytes, name);
      writeText(bytes, value);
    } else if (isList(value)) {
      bytes.push(LIST_START);
      writeName(bytes, name);
      for (const item of value) {
        bytes.push(LIST_ITEM);
        writeText(bytes, item);
      }
      bytes.push(LIST_END);
    } else {
      bytes.push(SECTION_START);
      writeName(bytes, name);
      writeSection(bytes, value);
      bytes.push(SECTION_END);
    }
  }
}

function isList(value: ViciValue): value is readonly string[] {
  return Array.isArray(value);
}

/** A name with its length, also of a command or event (packet.ts). */
export function writeName(bytes: number[], name: string): void {
  const text = encoder.encode(name);
  if (text.length === 0 || text.length > 0xff) throw new RangeError(`cannot name anything by ${text.length} bytes`);
  bytes.push(text.length, ...text);
}

function writeText(bytes: number[], value: string): void {
  const text = encoder.encode(value);
  if (text.length > 0xffff) throw new RangeError(`cannot send a text of ${text.length} bytes: want 65535 at most`);
  bytes.push(text.length >> 8, text.length & 0xff, ...text);
}

/** Throws ViciMalformed. */
export function decodeMessage(bytes: Uint8Array): Section {
  const reader = new Reader(bytes);
  const section = readSection(reader, 0);
  if (!reader.isAtEnd) throw new ViciMalformed("a section ends that was not begun");
  return section;
}

/** Up to the section's end, which of the outermost is that of the bytes. */
function readSection(reader: Reader, depth: number): Section {
  if (depth > MAX_DEPTH) throw new ViciMalformed(`sections in each other, more than ${MAX_DEPTH}`);
  const section: Record<string, ViciValue> = {};
  const put = (name: string, value: ViciValue) =>
    // Names are charon's and of leases: "__proto__" is a name like others.
    void Object.defineProperty(section, name, { value, enumerable: true, configurable: true, writable: true });
  for (;;) {
    if (reader.isAtEnd) {
      if (depth === 0) return section;
      throw new ViciMalformed("a section without an end");
    }
    const element = reader.u8();
    switch (element) {
      case SECTION_START:
        put(reader.name(), readSection(reader, depth + 1));
        break;
      case SECTION_END:
        if (depth === 0) throw new ViciMalformed("a section ends that was not begun");
        return section;
      case KEY_VALUE:
        put(reader.name(), reader.text());
        break;
      case LIST_START:
        put(reader.name(), readList(reader));
        break;
      default:
        throw new ViciMalformed(`element ${element} where a section goes on`);
    }
  }
}

function readList(reader: Reader): readonly string[] {
  const items: string[] = [];
  for (;;) {
    const element = reader.u8();
    if (element === LIST_END) return items;
    if (element !== LIST_ITEM) throw new ViciMalformed(`element ${element} in a list`);
    items.push(reader.text());
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#take(1)[0] ?? 0;
  }

  name(): string {
    return decoder.decode(this.#take(this.u8()));
  }

  text(): string {
    const high = this.u8();
    return decoder.decode(this.#take((high << 8) | this.u8()));
  }

  #take(length: number): Uint8Array {
    const left = this.#bytes.length - this.#at;
    if (left < length) throw new ViciMalformed(`${length} bytes wanted where ${left} are left`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}
