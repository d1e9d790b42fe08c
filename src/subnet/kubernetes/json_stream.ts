// JSON that is too large to be held as a whole: a list of nodes, item after item, and a watch, line after line. Bytes are cut where one value ends, and only
// that much is parsed and let go again: 5,000 nodes are 60 MB of text, and less than one of what is kept of them. Pure.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** Bytes of one value; a Node is at most some hundred kilobytes (etcd takes 1.5 MB). */
const MAX_VALUE_BYTES = 4 * 1024 * 1024;

const decoder = new TextDecoder();

export type ParseBytes = (bytes: Uint8Array) => unknown;

const parseWhole: ParseBytes = (bytes) => JSON.parse(decoder.decode(bytes));

/** Bytes that came, less those that are done with. */
class Pending {
  bytes: Uint8Array = new Uint8Array(0);

  add(chunk: Uint8Array): void {
    if (this.bytes.length === 0) this.bytes = chunk;
    else {
      const joined = new Uint8Array(this.bytes.length + chunk.length);
      joined.set(this.bytes);
      joined.set(chunk, this.bytes.length);
      this.bytes = joined;
    }
  }

  keepFrom(offset: number): void {
    // A copy: a view would hold the whole chunk in memory.
    this.bytes = offset === this.bytes.length ? new Uint8Array(0) : this.bytes.slice(offset);
    if (this.bytes.length > MAX_VALUE_BYTES)
      throw new RangeError(`a value of the answer has more than ${MAX_VALUE_BYTES} bytes`);
  }
}

/** Values separated by newlines. Throws SyntaxError for a line that is no JSON. */
export class JsonLines {
  readonly #pending = new Pending();
  readonly #parse: ParseBytes;

  constructor(parse: ParseBytes = parseWhole) {
    this.#parse = parse;
  }

  /** The values that are whole with this chunk. */
  take(chunk: Uint8Array): unknown[] {
    const before = this.#pending.bytes.length;
    this.#pending.add(chunk);
    const { bytes } = this.#pending;
    const values: unknown[] = [];
    let from = 0;
    let end = bytes.indexOf(NEWLINE, before);
    while (end >= 0) {
      if (end > from) values.push(this.#parse(bytes.subarray(from, end)));
      from = end + 1;
      end = bytes.indexOf(NEWLINE, from);
    }
    this.#pending.keepFrom(from);
    return values;
  }
}

/**
 * The objects in the array that is the member `items` of one JSON object, and the rest of that object with an empty array in their place. Only objects
 * are items.
 */
export class JsonItems {
  readonly #pending = new Pending();
  readonly #parse: ParseBytes;
  /** The object without its items, piece by piece. */
  #frame = "";
  /** How many braces and brackets are open at `#at`. */
  #depth = 0;
  #at = 0;
  #inItems = false;
  #itemFrom = -1;

  constructor(parse: ParseBytes = parseWhole) {
    this.#parse = parse;
  }

  /** The items that are whole with this chunk. Throws SyntaxError for an item that is no JSON. */
  *take(chunk: Uint8Array): Generator<unknown, void, undefined> {
    this.#pending.add(chunk);
    const { bytes } = this.#pending;
    let frameFrom = this.#inItems ? -1 : 0;
    let done = 0;
    let i = this.#at;
    for (; i < bytes.length; i++) {
      const byte = bytes[i];
      if (byte === QUOTE) {
        const end = endOfString(bytes, i + 1);
        if (end < 0) break; // the rest of it is still to come
        i = end;
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (byte === OPEN_BRACKET && this.#depth === 1 && !this.#inItems && isItems(bytes, i)) {
          this.#inItems = true;
          this.#frame += decoder.decode(bytes.subarray(frameFrom, i + 1));
          frameFrom = -1;
        } else if (this.#inItems && this.#depth === 2) this.#itemFrom = i;
        this.#depth++;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        this.#depth--;
        if (!this.#inItems) continue;
        if (this.#depth === 2 && this.#itemFrom >= 0) {
          yield this.#parse(bytes.subarray(this.#itemFrom, i + 1));
          this.#itemFrom = -1;
          done = i + 1;
        } else if (this.#depth === 1) {
          this.#inItems = false;
          frameFrom = i;
        }
      }
    }
    // What is unfinished begins with the item it is of; outside of items all has to stay until `items` comes.
    const keep = this.#inItems
      ? this.#itemFrom >= 0
        ? this.#itemFrom
        : Math.max(done, Math.min(i, bytes.length))
      : frameFrom;
    this.#at = i - keep;
    if (this.#itemFrom >= 0) this.#itemFrom -= keep;
    this.#pending.keepFrom(keep);
  }

  /** The object without its items, when all has come. Throws SyntaxError when it is not whole. */
  rest(): unknown {
    return JSON.parse(this.#frame + decoder.decode(this.#pending.bytes));
  }
}

/** Offset of the quote that ends the string which begins at `from`; −1 when it is not there yet. */
function endOfString(bytes: Uint8Array, from: number): number {
  let end = bytes.indexOf(QUOTE, from);
  while (end >= 0) {
    let backslashes = 0;
    while (bytes[end - 1 - backslashes] === BACKSLASH && end - 1 - backslashes >= from) backslashes++;
    if (backslashes % 2 === 0) return end;
    end = bytes.indexOf(QUOTE, end + 1);
  }
  return -1;
}

/** Whether the bracket at `offset` is the value of a member "items". */
function isItems(bytes: Uint8Array, offset: number): boolean {
  const before = decoder.decode(bytes.subarray(Math.max(0, offset - 16), offset));
  return /"items"\s*:\s*$/.test(before);
}
