// The one memory that packets are received into, changed in and sent from, with the Internet checksum (RFC 1071) over its ranges: in WebAssembly SIMD, which
// reads this memory without a copy, or in plain JavaScript where the machine has none. A sum here is the ones' complement sum in network order, 0 to 0xffff,
// folded but not inverted: sums add up, and what is verified comes to 0xffff.

import { CHECKSUM_WASM } from "./checksum.gen.ts";

export interface PacketMemory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly kind: "simd" | "plain";
  /** The sum of a range; an odd last byte counts as the high byte of a word. */
  readonly sum: (offset: number, length: number) => number;
  /** Copies a range to where it does not overlap itself, and returns its sum. */
  readonly copySum: (target: number, source: number, length: number) => number;
}

/** WebAssembly's unit of memory. */
const PAGE_BYTES = 65_536;

export function hasSimd(): boolean {
  return typeof WebAssembly === "object" && WebAssembly.validate(wasmBytes());
}

/** Zeroed memory of at least `byteLength` bytes, which never moves. */
export function createPacketMemory(
  byteLength: number,
  kind: PacketMemory["kind"] = hasSimd() ? "simd" : "plain",
): PacketMemory {
  const pages = Math.ceil(byteLength / PAGE_BYTES);
  return kind === "simd" ? simdMemory(pages) : plainMemory(new ArrayBuffer(pages * PAGE_BYTES));
}

function simdMemory(pages: number): PacketMemory {
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasmBytes()), { packets: { memory } });
  const buffer = memory.buffer as ArrayBuffer;
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    kind: "simd",
    sum: exports.sum as PacketMemory["sum"],
    copySum: exports.copySum as PacketMemory["copySum"],
  };
}

function plainMemory(buffer: ArrayBuffer): PacketMemory {
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  const sum = (offset: number, length: number) => plainSum(view, offset, length);
  const copySum = (target: number, source: number, length: number) => {
    bytes.copyWithin(target, source, source + length);
    return plainSum(view, target, length);
  };
  return { bytes, view, kind: "plain", sum, copySum };
}

function wasmBytes(): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(CHECKSUM_WASM);
}

/** Four bytes a step: 2^32 is 1 modulo 65535, as 2^16 is, and 16 Ki words of 32 bits stay far below 2^53. */
function plainSum(view: DataView, offset: number, length: number): number {
  const end = offset + length;
  let at = offset;
  let sum = 0;
  for (; at + 4 <= end; at += 4) sum += view.getUint32(at);
  if (at + 2 <= end) {
    sum += view.getUint16(at);
    at += 2;
  }
  if (at < end) sum += view.getUint8(at) << 8;
  return foldSum(Math.floor(sum / 2 ** 32) + (sum >>> 16) + (sum & 0xffff));
}

/** A sum of less than 2^31 brought into 16 bits with the carries added. */
export function foldSum(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}
