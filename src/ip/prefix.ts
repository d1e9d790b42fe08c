// Prefixes as canonical text "address/length". A Prefix may carry host bits, as an interface address does (10.5.1.1/24); one without is a network
// or a subnet (10.5.1.0/24). Two words that are often confused: the *network* is what the whole cluster shares (10.5.0.0/16), a *subnet* is the part of it
// that one node leases (10.5.1.0/24).

import { type Address, addressFromNumber, addressNumber, familyOf, parseAddress } from "./address.ts";
import { ADDRESS_BITS, type Family } from "./family.ts";

export type Prefix = string & { readonly __brand: "Prefix" };

/** The prefix that `text` spells ("10.5.1.1/24"), host bits kept, or undefined. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  const address = slash < 0 ? undefined : parseAddress(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  if (!address || !/^(0|[1-9][0-9]{0,2})$/.test(lengthText)) return undefined;
  const length = Number(lengthText);
  return length <= ADDRESS_BITS[familyOf(address)] ? makePrefix(address, length) : undefined;
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
  return Number(prefix.slice(prefix.indexOf("/") + 1));
}

/** The prefix with its host bits cleared: 10.5.1.1/24 → 10.5.1.0/24. */
export function networkOf(prefix: Prefix): Prefix {
  const length = prefixLength(prefix);
  return makePrefix(maskAddress(prefixAddress(prefix), length), length);
}

/** Whether no host bit is set. */
export function isNetwork(prefix: Prefix): boolean {
  return networkOf(prefix) === prefix;
}

/** The address with all but its first `length` bits cleared. */
export function maskAddress(address: Address, length: number): Address {
  const family = familyOf(address);
  const hostBits = BigInt(ADDRESS_BITS[family] - length);
  return addressFromNumber((addressNumber(address) >> hostBits) << hostBits, family);
}

/** Whether every address of `inner` lies in `outer`; false across families. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  return prefixLength(outer) <= prefixLength(inner) && containsAddress(outer, prefixAddress(inner));
}

export function containsAddress(outer: Prefix, address: Address): boolean {
  const family = prefixFamily(outer);
  if (familyOf(address) !== family) return false;
  const hostBits = BigInt(ADDRESS_BITS[family] - prefixLength(outer));
  return addressNumber(prefixAddress(outer)) >> hostBits === addressNumber(address) >> hostBits;
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
