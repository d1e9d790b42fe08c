// IP addresses as canonical text ("10.5.1.0", "fd00::1"; RFC 5952 for IPv6), branded so that only parsed text is one. Canonical text compares with
// ===, serves as a map key and prints as it is; bytes and numbers are made where a wire format or arithmetic needs them.

import type { Family } from "./family.ts";

export type Address = string & { readonly __brand: "Address" };

/** Where text is parsed that only its text is wanted of: a set of 50,000 leases has hundreds of thousands of addresses. */
const scratch = new Uint8Array(16);

export function familyOf(address: Address): Family {
  return address.includes(":") ? "ipv6" : "ipv4";
}

/** The address that `text` spells, or undefined. Accepts what RFC 4291 allows (also `::ffff:10.0.0.1`), no zone, no leading zeros in IPv4. */
export function parseAddress(text: string): Address | undefined {
  // IPv4 has one spelling only, so text that parses is canonical.
  if (!text.includes(":")) return parseIPv4(text, scratch, 0) ? (text as Address) : undefined;
  return parseIPv6(text, scratch) ? (formatIPv6(scratch) as Address) : undefined;
}

/**
 * Whether packets to it reach one host elsewhere: neither unspecified, loopback, multicast nor broadcast, and no IPv4 address dressed as IPv6, which would
 * pass by every check of the IPv4 address.
 */
export function isUnicastAddress(address: Address): boolean {
  const bytes = addressBytes(address);
  const first = bytes[0] ?? 0;
  if (bytes.length === 4)
    return first !== 0 && first !== 127 && (first & 0xf0) !== 0xe0 && address !== "255.255.255.255";
  return first !== 0xff && address !== "::" && address !== "::1" && !address.startsWith("::ffff:");
}

/** The network-order bytes of an address: 4 or 16. */
export function addressBytes(address: Address): Uint8Array<ArrayBuffer> {
  const ipv6 = address.includes(":");
  const bytes = new Uint8Array(ipv6 ? 16 : 4);
  if (ipv6 ? parseIPv6(address, bytes) : parseIPv4(address, bytes, 0)) return bytes;
  throw new RangeError(`Cannot encode "${address}": it is not an IP address`);
}

/** The canonical address of 4 or 16 network-order bytes. */
export function addressFromBytes(bytes: Uint8Array): Address {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Address;
  if (bytes.length === 16) return formatIPv6(bytes) as Address;
  throw new RangeError(`Cannot read an address from ${bytes.length} bytes: want 4 or 16`);
}

/** The address as a number; IPv4 below 2^32, IPv6 below 2^128. */
export function addressNumber(address: Address): bigint {
  const bytes = addressBytes(address);
  if (bytes.length === 4) return BigInt(new DataView(bytes.buffer).getUint32(0));
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return value;
}

/** The address of a number within the family's width. */
export function addressFromNumber(value: bigint, family: Family): Address {
  const bytes = new Uint8Array(family === "ipv4" ? 4 : 16);
  let rest = value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  if (value < 0n || rest !== 0n) throw new RangeError(`Cannot make an ${family} address of ${value}: out of range`);
  return addressFromBytes(bytes);
}

/** Writes four bytes at `offset`; false when `text` is not an address, and then they may hold anything. */
function parseIPv4(text: string, bytes: Uint8Array, offset: number): boolean {
  let index = 0;
  let value = 0;
  let digits = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 0x2e;
    if (code === 0x2e) {
      if (digits === 0 || index > 3) return false;
      bytes[offset + index++] = value;
      value = 0;
      digits = 0;
    } else if (code >= 0x30 && code <= 0x39) {
      if (digits > 0 && value === 0) return false; // 010 is octal to some, ten to others
      value = value * 10 + code - 0x30;
      if (value > 255) return false;
      digits++;
    } else return false;
  }
  return index === 4;
}

/** Writes sixteen bytes; false as parseIPv4. */
function parseIPv6(text: string, bytes: Uint8Array): boolean {
  let at = 0; // bytes written
  let gap = text.startsWith("::") ? 0 : -1; // where "::" stands among them
  let i = gap === 0 ? 2 : 0;
  while (i < text.length) {
    const start = i;
    let group = 0;
    for (let digit = hexDigit(text, i); digit >= 0; digit = hexDigit(text, ++i)) group = (group << 4) | digit;
    if (text[i] === ".") {
      if (at > 12 || !parseIPv4(text.slice(start), bytes, at)) return false;
      at += 4;
      break;
    }
    if (i === start || i > start + 4 || at === 16) return false;
    bytes[at++] = group >> 8;
    bytes[at++] = group;
    if (i === text.length) break;
    if (text[i++] !== ":") return false;
    if (text[i] === ":") {
      if (gap >= 0) return false;
      gap = at;
      i++;
    } else if (i === text.length) return false;
  }
  if (gap < 0) return at === 16;
  if (at > 14) return false; // "::" stands for one group at least
  const tail = 16 - (at - gap);
  bytes.copyWithin(tail, gap, at);
  bytes.fill(0, gap, tail);
  return true;
}

/** The value of the hex digit at `index`, in either case; -1 when there is none. */
function hexDigit(text: string, index: number): number {
  const code = text.charCodeAt(index);
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as "::". */
function formatIPv6(bytes: Uint8Array): string {
  const groupAt = (group: number) => ((bytes[group * 2] ?? 0) << 8) | (bytes[group * 2 + 1] ?? 0);
  let runStart = 8;
  let runLength = 1;
  for (let group = 0, zeros = 0; group < 8; group++) {
    zeros = groupAt(group) === 0 ? zeros + 1 : 0;
    if (zeros > runLength) [runStart, runLength] = [group + 1 - zeros, zeros];
  }
  if (runStart === 0 && runLength === 5 && groupAt(5) === 0xffff) {
    return `::ffff:${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}`;
  }
  let text = "";
  for (let group = 0; group < 8; group++) {
    if (group === runStart) {
      text += "::";
      group += runLength - 1;
    } else {
      if (group > 0 && group !== runStart + runLength) text += ":";
      text += groupAt(group).toString(16);
    }
  }
  return text;
}
