// Prefixes as canonical text "address/length". A Prefix may carry host bits, as an interface address does (10.5.1.1/24); one without is a network
// or a subnet (10.5.1.0/24). Two words that are often confused: the *network* is what the whole cluster shares (10.5.0.0/16), a *subnet* is the part of it
// that one node leases (10.5.1.0/24).

import {
  type Address,
  addressBytes,
  addressFromBytes,
  addressFromNumber,
  addressNumber,
  familyOf,
  parseAddress,
} from "./address.ts";
import { ADDRESS_BITS, type Family } from "./family.ts";
import { writeAddress } from "./wire.ts";

/** Bytes of the addresses that one comparison is about: leases are compared by the hundred thousand. */
const left = new Uint8Array(16);
const right = new Uint8Array(16);

export type Prefix = string & { readonly __brand: "Prefix" };

/** The prefix that `text` spells ("10.5.1.1/24"), host bits kept, or undefined. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  const given = text.slice(0, Math.max(slash, 0));
  const address = parseAddress(given);
  if (!address) return undefined;
  const length = parseLength(text, slash + 1);
  if (length === undefined || length > ADDRESS_BITS[familyOf(address)]) return undefined;
  return address === given ? (text as Prefix) : makePrefix(address, length);
}

/** The number from `start` on: one to three digits, no leading zeros. */
function parseLength(text: string, start: number): number | undefined {
  if (text.length === start || text.length > start + 3 || (text[start] === "0" && text.length > start + 1))
    return undefined;
  let length = 0;
  for (let i = start; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    length = length * 10 + digit;
  }
  return length;
}

export function makePrefix(address: Address, length: number): Prefix {
  return `${address}/${length}` as Prefix;
}

export function prefixFamily(prefix: Prefix): Family {
  return prefix.includes(":") ? "ipv6" : "ipv4";
}

export function prefixAddress(prefix: Prefix): Address {
  return prefix.slice(0, prefix.indexOf("/")) as Address;
}

/** Length in bits: 24 for 10.5.1.0/24. */
export function prefixLength(prefix: Prefix): number {
  let length = 0;
  for (let i = prefix.indexOf("/") + 1; i < prefix.length; i++) length = length * 10 + prefix.charCodeAt(i) - 0x30;
  return length;
}

/** The prefix with its host bits cleared: 10.5.1.1/24 → 10.5.1.0/24. */
export function networkOf(prefix: Prefix): Prefix {
  const length = prefixLength(prefix);
  return makePrefix(maskAddress(prefixAddress(prefix), length), length);
}

/** Whether no host bit is set. */
export function isNetwork(prefix: Prefix): boolean {
  const width = writeAddress(left, 0, prefixAddress(prefix));
  const length = prefixLength(prefix);
  for (let i = length >> 3; i < width; i++) if (left[i] !== ((left[i] ?? 0) & byteMask(length - i * 8))) return false;
  return true;
}

/** The address with all but its first `length` bits cleared. */
export function maskAddress(address: Address, length: number): Address {
  return addressFromBytes(addressBytes(address).map((byte, i) => byte & byteMask(length - i * 8)));
}

/** Whether every address of `inner` lies in `outer`; false across families. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  return prefixLength(outer) <= prefixLength(inner) && containsAddress(outer, prefixAddress(inner));
}

export function containsAddress(outer: Prefix, address: Address): boolean {
  if (prefixFamily(outer) !== familyOf(address)) return false;
  const length = prefixLength(outer);
  writeAddress(left, 0, prefixAddress(outer));
  writeAddress(right, 0, address);
  for (let i = 0; i * 8 < length; i++) {
    if (((left[i] ?? 0) ^ (right[i] ?? 0)) & byteMask(length - i * 8)) return false;
  }
  return true;
}

/** The first `bits` bits of a byte, at most 8, none below 0. */
function byteMask(bits: number): number {
  return bits >= 8 ? 0xff : bits <= 0 ? 0 : (0xff << (8 - bits)) & 0xff;
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return contains(a, b) || contains(b, a);
}

/** The address `offset` places after the prefix's own: addressAt(10.5.1.0/24, 1n) is 10.5.1.1. */
export function addressAt(prefix: Prefix, offset: bigint): Address {
  return addressFromNumber(addressNumber(prefixAddress(prefix)) + offset, prefixFamily(prefix));
}

/** The subnet of the same length `offset` places further: subnetAfter(10.5.1.0/24, 2n) is 10.5.3.0/24. */
export function subnetAfter(subnet: Prefix, offset: bigint): Prefix {
  const length = prefixLength(subnet);
  const size = 1n << BigInt(ADDRESS_BITS[prefixFamily(subnet)] - length);
  return makePrefix(addressAt(subnet, size * offset), length);
}
