// Addresses and MACs in network byte order at an offset of a buffer: what a codec of thousands of messages needs,
// without an array for each value. Text is canonical on both sides (address.ts, mac.ts), which is what makes the short
// ways here possible.

import { type Address, addressBytes } from "./address.ts";
import type { Mac } from "./mac.ts";

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;

/** Not a table of all bytes, which a process that reads three MACs would make for nothing. */
const DIGITS = "0123456789abcdef";

/** Writes 4 or 16 bytes at `offset` and returns how many. */
export function writeAddress(target: Uint8Array, offset: number, address: Address): number {
  return isIPv4(address) ? writeIPv4(target, offset, address) : writeIPv6(target, offset, address);
}

/** The address of the 4 or 16 bytes at `offset`. */
export function readAddress(bytes: Uint8Array, offset: number, length: 4 | 16): Address {
  if (length === 16) return readIPv6(bytes, offset);
  return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}` as Address;
}

/** Writes 6 bytes at `offset`. */
export function writeMac(target: Uint8Array, offset: number, mac: Mac): void {
  for (let i = 0; i < 6; i++) {
    target[offset + i] = (hexDigit(mac.charCodeAt(i * 3)) << 4) | hexDigit(mac.charCodeAt(i * 3 + 1));
  }
}

/** The MAC of the 6 bytes at `offset`. */
export function readMac(bytes: Uint8Array, offset: number): Mac {
  let text = "";
  for (let i = offset; i < offset + 6; i++) {
    const byte = bytes[i] ?? 0;
    text += `${text && ":"}${DIGITS[byte >> 4]}${DIGITS[byte & 15]}`;
  }
  return text as Mac;
}

/**
 * Canonical IPv4 has its first dot within four characters; canonical IPv6 has a colon there ("::ffff:10.0.0.1" too).
 */
function isIPv4(address: Address): boolean {
  for (let i = 1; i < 4; i++) if (address.charCodeAt(i) === DOT) return true;
  return false;
}

function writeIPv4(target: Uint8Array, offset: number, address: Address): number {
  let at = offset;
  let value = 0;
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i);
    if (code === DOT) {
      target[at++] = value;
      value = 0;
    } else {
      value = value * 10 + code - ZERO;
    }
  }
  target[at] = value;
  return 4;
}

function writeIPv6(target: Uint8Array, offset: number, address: Address): number {
  if (address.includes(".")) {
    target.set(addressBytes(address), offset);
    return 16;
  }
  target.fill(0, offset, offset + 16);
  const end = offset + 16;
  let at = offset;
  let group = 0;
  let digits = 0;
  let gap = -1;
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i);
    if (code !== COLON) {
      group = (group << 4) | hexDigit(code);
      digits++;
      continue;
    }
    if (digits > 0) {
      target[at++] = group >> 8;
      target[at++] = group;
      group = 0;
      digits = 0;
    }
    if (address.charCodeAt(i + 1) === COLON) gap = at;
  }
  if (digits > 0) {
    target[at++] = group >> 8;
    target[at++] = group;
  }
  if (gap >= 0 && at < end) {
    target.copyWithin(end - (at - gap), gap, at);
    target.fill(0, gap, end - (at - gap));
  }
  return 16;
}

/** RFC 5952, as addressFromBytes in address.ts. */
function readIPv6(bytes: Uint8Array, offset: number): Address {
  let bestStart = 8;
  let bestLength = 1;
  let runLength = 0;
  for (let i = 0; i < 8; i++) {
    runLength = groupAt(bytes, offset, i) === 0 ? runLength + 1 : 0;
    if (runLength > bestLength) {
      bestStart = i + 1 - runLength;
      bestLength = runLength;
    }
  }
  if (bestStart === 0 && bestLength === 5 && groupAt(bytes, offset, 5) === 0xffff) {
    return `::ffff:${readAddress(bytes, offset + 12, 4)}` as Address;
  }
  let text = "";
  for (let i = 0; i < 8; i++) {
    if (i === bestStart) {
      text += "::";
      i += bestLength - 1;
    } else {
      if (i > 0 && i !== bestStart + bestLength) text += ":";
      text += groupAt(bytes, offset, i).toString(16);
    }
  }
  return text as Address;
}

function groupAt(bytes: Uint8Array, offset: number, group: number): number {
  return ((bytes[offset + group * 2] ?? 0) << 8) | (bytes[offset + group * 2 + 1] ?? 0);
}

/** The value of one lower-case hex digit. */
function hexDigit(code: number): number {
  return code < 0x3a ? code - ZERO : code - 0x57;
}
