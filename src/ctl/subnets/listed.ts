// The leases of a store as an operator reads them, with what is wrong about any: flanneld refuses such a lease with the same reason.

import type { NetworkConfig } from "../../config/network.ts";
import { type Address, parseAddress } from "../../ip/address.ts";
import { FAMILIES, type PerFamily } from "../../ip/family.ts";
import { contains, containsAddress, type Prefix, parsePrefix } from "../../ip/prefix.ts";
import { parseLeaseAttributes } from "../../lease/attributes.ts";
import { formatLeaseKey, type LeaseKey, parseLeaseKey } from "../../lease/key.ts";
import { SubnetIndex } from "../../lease/subnet_index.ts";
import type { LeaseSource, ShownEntry } from "../../subnet/registry.ts";
import { inBatches } from "../in_batches.ts";

export interface Listed {
  readonly entry: ShownEntry;
  readonly subnet: PerFamily<Prefix>;
  readonly publicIp: PerFamily<Address>;
  readonly backendType: string;
  readonly backendData: PerFamily<unknown>;
  /** Milliseconds since the epoch; undefined for a reservation, and where nobody asked. */
  readonly endsAt: number | undefined;
  /** Why other nodes refuse it. */
  readonly fault: string | undefined;
}

const ALL = { ipv4: "0.0.0.0/0" as Prefix, ipv6: "::/0" as Prefix };

/** `entries` in order of creation, which decides between two that overlap. */
export function listLeases(
  entries: readonly ShownEntry[],
  config: NetworkConfig | undefined,
  ends: ReadonlyMap<string, number | undefined>,
): Listed[] {
  const listed: Listed[] = [];
  const taken = { ipv4: new SubnetIndex(ALL.ipv4), ipv6: new SubnetIndex(ALL.ipv6) };
  for (const entry of entries) {
    const subnet = parseLeaseKey(entry.key) ?? {};
    const parsed = parseLeaseAttributes(entry.value);
    const attributes = "kind" in parsed ? { publicIp: {}, backendType: "", backendData: {} } : parsed;
    const rival = FAMILIES.flatMap((family) => (subnet[family] && taken[family].overlapping(subnet[family])) ?? [])[0];
    const fault =
      entry.fault ??
      (Object.keys(subnet).length === 0
        ? "its key is not a subnet in the form 10.5.2.0-24"
        : "kind" in parsed
          ? parsed.reason
          : (outside(subnet, config) ?? (rival && `it overlaps ${rival}, which was there before`)));
    const lease = { ...attributes, entry, subnet, endsAt: entry.expiresAt ?? ends.get(entry.key), fault };
    listed.push(lease);
    if (fault !== undefined) continue;
    for (const family of FAMILIES) if (subnet[family]) taken[family].add(subnet[family], entry.key as LeaseKey);
  }
  return listed;
}

function outside(subnet: PerFamily<Prefix>, config: NetworkConfig | undefined): string | undefined {
  for (const family of FAMILIES) {
    const [part, network] = [subnet[family], config?.ranges[family]?.network];
    if (part && network && !contains(network, part)) return `its subnet ${part} is outside the network ${network}`;
  }
  return undefined;
}

/** Requests at a time. */
const LIMIT = 16;

/** When entries end of which reading did not tell: a request for each, with etcd v3 alone. */
export async function readEnds(
  registry: Pick<LeaseSource, "expiry">,
  entries: readonly ShownEntry[],
  signal: AbortSignal,
): Promise<Map<string, number | undefined>> {
  const unknown = entries.filter(({ expiresAt, reserved }) => expiresAt === undefined && !reserved);
  const ends = await inBatches(unknown, LIMIT, (entry) => registry.expiry(entry, signal));
  return new Map(unknown.map(({ key }, i) => [key, ends[i]]));
}

/** The lease that a text means: its key, its subnet or its node's public IP. */
export function findLease(leases: readonly Listed[], text: string): Listed | undefined {
  const address = parseAddress(text);
  const prefix = parsePrefix(text);
  const is = (test: (lease: Listed) => boolean) => leases.find(test);
  const parts = ({ subnet }: Listed) => FAMILIES.flatMap((family) => subnet[family] ?? []);
  return (
    is(({ entry }) => entry.key === text) ??
    (prefix && is((lease) => parts(lease).includes(prefix))) ??
    (address && is(({ publicIp }) => publicIp.ipv4 === address || publicIp.ipv6 === address))
  );
}

/** The lease whose subnet holds an address, a pod's for instance. */
export function leaseAround(leases: readonly Listed[], text: string): Listed | undefined {
  const address = parseAddress(text);
  const holds = ({ subnet }: Listed) =>
    FAMILIES.some((family) => subnet[family] && address && containsAddress(subnet[family], address));
  return leases.find(holds);
}

/** The subnets that an argument names: a key, or one subnet of each family. */
export function subnetsFrom(texts: readonly string[]): PerFamily<Prefix> | undefined {
  const [only] = texts;
  const key = texts.length === 1 && only !== undefined ? parseLeaseKey(only) : undefined;
  if (key) return key;
  try {
    const prefixes = texts.map((text) => parsePrefix(text));
    const subnet = Object.fromEntries(
      prefixes.flatMap((prefix) => (prefix ? [[prefix.includes(":") ? "ipv6" : "ipv4", prefix]] : [])),
    ) as PerFamily<Prefix>;
    if (prefixes.includes(undefined) || Object.keys(subnet).length !== texts.length) return undefined;
    return parseLeaseKey(formatLeaseKey(subnet));
  } catch {
    return undefined;
  }
}
