// The addresses that host-local may give: ranges, each within one subnet, in sets of which every container gets one address. The rules are the reference
// plugin's (containernetworking/plugins, plugins/ipam/host-local): a range is the subnet without its first address and, for IPv4, its last, and its gateway
// is never given.

import { type Address, addressFromNumber, addressNumber, familyOf, parseAddress } from "../../ip/address.ts";
import { ADDRESS_BITS, type Family } from "../../ip/family.ts";
import { networkOf, type Prefix, parsePrefix, prefixAddress, prefixFamily, prefixLength } from "../../ip/prefix.ts";
import { addFault, isRaw, type Raw, textField } from "../conf_fields.ts";

export interface AddressRange {
  readonly subnet: Prefix;
  readonly family: Family;
  readonly gateway: Address;
  /** Lowest and highest address to give, as numbers. */
  readonly first: bigint;
  readonly last: bigint;
}

/** Ranges of one family, used one after another. */
export type RangeSet = readonly AddressRange[];

/** Reads one range; undefined when it is not one, and then `faults` says why. `path` is how errors call it. */
export function readRange(raw: Raw, path: string, faults: string[]): AddressRange | undefined {
  const before = faults.length;
  const given = textField(raw, "subnet", faults, `${path}.subnet`);
  const subnet = parsePrefix(given ?? "");
  if (!subnet) {
    if (faults.length === before) addFault(faults, `${path}.subnet`, given ?? null, 'a subnet as "10.5.1.0/24"');
    return undefined;
  }
  const family = prefixFamily(subnet);
  const hostBits = ADDRESS_BITS[family] - prefixLength(subnet);
  if (hostBits < 2)
    addFault(faults, `${path}.subnet`, subnet, "one large enough to allocate from: two host bits or more");
  const start = addressNumber(prefixAddress(subnet));
  const base = (start >> BigInt(hostBits)) << BigInt(hostBits);
  if (base !== start) addFault(faults, `${path}.subnet`, subnet, `no host bits: ${networkOf(subnet)}`);
  const lowest = base + 1n;
  const highest = base + (1n << BigInt(hostBits)) - (family === "ipv4" ? 2n : 1n);
  const read = (key: string): Address | undefined => {
    const text = textField(raw, key, faults, `${path}.${key}`) || undefined;
    const address = parseAddress(text ?? "");
    if (text !== undefined && (!address || familyOf(address) !== family)) {
      addFault(faults, `${path}.${key}`, text, `an address of the family of ${subnet}`);
    }
    return address;
  };
  const within = (key: string): bigint | undefined => {
    const address = read(key);
    if (!address || familyOf(address) !== family) return undefined;
    const number = addressNumber(address);
    const inside = number >= base && number < base + (1n << BigInt(hostBits));
    if (!inside) addFault(faults, `${path}.${key}`, address, `an address in ${subnet}`);
    return number;
  };
  const gateway = read("gateway") ?? addressFromNumber(lowest, family);
  const first = within("rangeStart") ?? lowest;
  const last = within("rangeEnd") ?? highest;
  if (faults.length === before && first > last) faults.push(`${path}: rangeStart is above rangeEnd`);
  return faults.length === before ? { subnet, family, gateway, first, last } : undefined;
}

/** Reads a set of ranges; what is wrong goes to `faults`. */
export function readRangeSet(value: unknown, path: string, faults: string[]): RangeSet {
  if (!Array.isArray(value) || value.length === 0) {
    addFault(faults, path, value, "a list of ranges");
    return [];
  }
  const set: AddressRange[] = [];
  for (const [i, raw] of value.entries()) {
    const range = isRaw(raw) ? readRange(raw, `${path}[${i}]`, faults) : undefined;
    if (!isRaw(raw)) addFault(faults, `${path}[${i}]`, raw, "a range");
    if (!range) continue;
    for (const other of set) {
      if (other.family !== range.family) faults.push(`${path}: ranges of two families in one set`);
      else if (overlap(other, range))
        faults.push(`${path}: ranges ${rangeText(other)} and ${rangeText(range)} overlap`);
    }
    set.push(range);
  }
  return set;
}

export function setsOverlap(a: RangeSet, b: RangeSet): boolean {
  for (const range of a) for (const other of b) if (overlap(range, other)) return true;
  return false;
}

function overlap(a: AddressRange, b: AddressRange): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

/** The range of `set` that `address` is in. */
export function rangeOf(set: RangeSet, address: Address): AddressRange | undefined {
  const family = familyOf(address);
  const number = addressNumber(address);
  for (const range of set) if (range.family === family && range.first <= number && number <= range.last) return range;
  return undefined;
}

/** How many addresses it can give. */
export function capacityOf(set: RangeSet): bigint {
  let capacity = 0n;
  for (const { first, last, gateway } of set) {
    const gatewayNumber = addressNumber(gateway);
    capacity += last - first + (first <= gatewayNumber && gatewayNumber <= last ? 0n : 1n);
  }
  return capacity;
}

/** As the reference plugin prints a set: "10.5.1.1-10.5.1.254". */
export function setText(set: RangeSet): string {
  return set.map(rangeText).join(",");
}

function rangeText({ first, last, family }: AddressRange): string {
  return `${addressFromNumber(first, family)}-${addressFromNumber(last, family)}`;
}
