// From which ranges the addresses of a network come: as the plugin flannel has told host-local in the newest of its states, else the subnet that flanneld
// wrote. Bounds and gateway that are not given are host-local's: all addresses but the subnet's own and IPv4's broadcast; the first one is the gateway's.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseSubnetEnv } from "../../config/subnet_env.ts";
import { type Address, addressNumber, familyOf, parseAddress } from "../../ip/address.ts";
import { ADDRESS_BITS, FAMILIES } from "../../ip/family.ts";
import { addressAt, networkOf, type Prefix, parsePrefix, prefixFamily, prefixLength } from "../../ip/prefix.ts";
import { isCode } from "./reservations.ts";

export interface Range {
  readonly subnet: Prefix;
  readonly first: Address;
  readonly last: Address;
  /** Never given out. */
  readonly gateway: Address;
}

export interface NetworkRanges {
  readonly ranges: readonly Range[];
  /** Where it says so: flannel's states, or flanneld's file. */
  readonly source: string;
}

/** Ranges by the network's name. */
export interface KnownRanges {
  of(network: string): NetworkRanges;
}

export function readRanges(stateDir: string, subnetFile: string): KnownRanges {
  const byNetwork = new Map<string, NetworkRanges & { readonly changed: number }>();
  for (const name of namesIn(stateDir)) {
    const path = join(stateDir, name);
    const changed = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    const state = objectOf(textOf(path));
    const network = state?.name;
    const ranges = rangesOf(state?.ipam);
    if (typeof network !== "string" || ranges.length === 0) continue;
    if (changed > (byNetwork.get(network)?.changed ?? -1))
      byNetwork.set(network, { ranges, source: stateDir, changed });
  }
  const { subnets } = parseSubnetEnv(textOf(subnetFile));
  const ranges = FAMILIES.flatMap((family) => (subnets[family] ?? []).flatMap((subnet) => rangeOf({ subnet }) ?? []));
  return { of: (network) => byNetwork.get(network) ?? { ranges, source: subnetFile } };
}

/** Addresses that can be given out. */
export function sizeOf({ first, last, gateway }: Range): bigint {
  const [from, to, own] = [addressNumber(first), addressNumber(last), addressNumber(gateway)];
  const all = to - from + 1n;
  return all > 0n && own >= from && own <= to ? all - 1n : all;
}

export function inRange({ subnet, first, last }: Range, address: Address): boolean {
  if (familyOf(address) !== prefixFamily(subnet)) return false;
  const number = addressNumber(address);
  return number >= addressNumber(first) && number <= addressNumber(last);
}

type Json = Readonly<Record<string, unknown>>;

/** Of host-local's configuration: `ranges`, a list of sets of ranges, and the one range of its first form. */
function rangesOf(ipam: unknown): Range[] {
  if (typeof ipam !== "object" || ipam === null) return [];
  const { ranges, ...single } = ipam as Json;
  const sets = Array.isArray(ranges) ? ranges.flat() : [];
  return [...(single.subnet === undefined ? [] : [single]), ...sets].flatMap((range) => rangeOf(range) ?? []);
}

function rangeOf(given: unknown): Range | undefined {
  if (typeof given !== "object" || given === null) return undefined;
  const { subnet: text, rangeStart, rangeEnd, gateway } = given as Json;
  const parsed = typeof text === "string" ? parsePrefix(text) : undefined;
  if (!parsed) return undefined;
  const subnet = networkOf(parsed);
  const family = prefixFamily(subnet);
  const count = 1n << BigInt(ADDRESS_BITS[family] - prefixLength(subnet));
  const address = (value: unknown) => (typeof value === "string" ? parseAddress(value) : undefined);
  return {
    subnet,
    first: address(rangeStart) ?? addressAt(subnet, 1n),
    last: address(rangeEnd) ?? addressAt(subnet, family === "ipv4" ? count - 2n : count - 1n),
    gateway: address(gateway) ?? addressAt(subnet, 1n),
  };
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isCode(error, "ENOENT")) return [];
    throw error;
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isCode(error, "ENOENT", "EISDIR")) return "";
    throw error;
  }
}

function objectOf(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}
