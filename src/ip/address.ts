// IP addresses as canonical text ("10.5.1.0", "fd00::1"; RFC 5952 for IPv6), branded so that only parsed text is one. Canonical text compares with
// ===, serves as a map key and prints as it is; bytes and numbers are made where a wire format or arithmetic needs them.

import type { Family } from "./family.ts";

export type Address = string & { readonly __brand: "Address" };

export function familyOf(address: Address): Family {
  return address.includes(":") ? "ipv6" : "ipv4";
}

/** The address that `text` spells, or undefined. Accepts what RFC 4291 allows (also `::ffff:10.0.0.1`), no zone, no leading zeros in IPv4. */
export function parseAddress(text: string): Address | undefined {
  const bytes = text.includes(":") ? parseIPv6(text) : parseIPv4(text);
  return bytes && addressFromBytes(bytes);
}

/** The network-order bytes of an address: 4 or 16. */
export function addressBytes(address: Address): Uint8Array {
  const bytes = address.includes(":") ? parseIPv6(address) : parseIPv4(address);
  if (!bytes) throw new RangeError(`Cannot encode "${address}": it is not an IP address`);
  return bytes;
}

/** The canonical address of 4 or 16 network-order bytes. */
export function addressFromBytes(bytes: Uint8Array): Address {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Address;
  if (bytes.length === 16) return formatIPv6(bytes) as Address;
  throw new RangeError(`Cannot read an address from ${bytes.length} bytes: want 4 or 16`);
}

/** The address as a number; IPv4 below 2^32, IPv6 below 2^128. */
export function addressNumber(address: Address): bigint {
  let value = 0n;
  for (const byte of addressBytes(address)) value = (value << 8n) | BigInt(byte);
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

function parseIPv4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let index = 0;
  let value = 0;
  let digits = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 0x2e;
    if (code === 0x2e) {
      if (digits === 0 || index > 3) return undefined;
      bytes[index++] = value;
      value = 0;
      digits = 0;
    } else if (code >= 0x30 && code <= 0x39) {
      if (digits > 0 && value === 0) return undefined; // 010 is octal to some, ten to others
      value = value * 10 + code - 0x30;
      if (value > 255) return undefined;
      digits++;
    } else return undefined;
  }
  return index === 4 ? bytes : undefined;
}

function parseIPv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (!head || !tail) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  const bytes = new Uint8Array(16);
  bytes.set(head, 0);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

/** Bytes of colon-separated groups; the last may be dotted IPv4 when `last` says that it ends the address. */
function parseGroups(text: string, last: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [i, group] of groups.entries()) {
    if (last && i === groups.length - 1 && group.includes(".")) {
      const dotted = parseIPv4(group);
      if (!dotted) return undefined;
      bytes.push(...dotted);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    }
  }
  return bytes;
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as "::". */
function formatIPv6(bytes: Uint8Array): string {
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}`;
  }
  let runStart = -1;
  let runLength = 1;
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === 0) end++;
    if (end - start > runLength) [runStart, runLength] = [start, end - start];
    if (end > start) start = end;
  }
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  return runStart < 0 ? hex(0, 8) : `${hex(0, runStart)}::${hex(runStart + runLength, 8)}`;
}
