// What `flannelctl reserve` and `unreserve` do.

import { leaseTypeOf } from "../../backend/backends.ts";
import type { NetworkConfig } from "../../config/network.ts";
import { mapFamilies, type PerFamily } from "../../ip/family.ts";
import type { Prefix } from "../../ip/prefix.ts";
import { formatLeaseAttributes } from "../../lease/attributes.ts";
import { formatLeaseKey } from "../../lease/key.ts";
import { fitsRanges } from "../../subnet/allocation.ts";
import { hasPublicIp, type KnownLease, knownLeases, subnetsOverlap } from "../../subnet/known_lease.ts";
import type { Registry, RegistryEntry } from "../../subnet/registry.ts";
import { StoreError } from "../../subnet/store_error.ts";
import type { ReserveFlags, UnreserveFlags } from "../reserve.ts";
import { type Session, UsageError } from "../session.ts";
import { openStore, storeChoiceOf } from "../store_options.ts";
import { configOf, readLeases } from "../subnets.ts";
import { line } from "../terminal.ts";
import { findLease, subnetsFrom } from "./listed.ts";
import { durationText } from "./print.ts";

export async function reserveSubnet(
  texts: readonly string[],
  flags: ReserveFlags,
  session: Session,
  signal: AbortSignal,
): Promise<number> {
  const subnet = subnetsFrom(texts);
  if (!subnet)
    throw new UsageError(`cannot reserve ${texts.join(" ")}: want a subnet such as 10.5.1.0/24, without host bits`);
  const publicIp = {
    ...(flags.publicIp && { ipv4: flags.publicIp }),
    ...(flags.publicIpv6 && { ipv6: flags.publicIpv6 }),
  };
  if (Object.keys(publicIp).length === 0)
    throw new UsageError("cannot reserve for nobody: give --public-ip or --public-ipv6");
  using store = await openStore(storeChoiceOf(flags, process.env), { make: false }, signal);
  const config = await rightConfig(store, signal);
  const key = formatLeaseKey(subnet);
  if (!fitsRanges(config.ranges, subnet)) throw new Error(`cannot reserve ${key}: ${whyUnfit(config)}`);
  const leases = knownLeases((await store.entries(signal)).entries);
  const rival = leases.find(
    (lease) =>
      subnetsOverlap(lease.subnet, subnet) && !(lease.entry.key === key && hasPublicIp(lease.attributes, publicIp)),
  );
  if (rival) throw new Error(`cannot reserve ${key}: ${rivalText(rival, key, store)}`);
  const present = leases.find(({ entry }) => entry.key === key);
  const elsewhere = leases.find((lease) => lease.entry.key !== key && hasPublicIp(lease.attributes, publicIp));
  let entry = present?.entry;
  if (!entry) {
    const attributes = { publicIp, backendType: leaseTypeOf(config.backend.type), backendData: {} };
    entry = orConflict(await store.create(key, formatLeaseAttributes(attributes), undefined, signal), key, store);
  } else if (!entry.reserved) {
    entry = orConflict(await store.replace(entry, entry.value, undefined, signal), key, store);
  }
  const outcome = present?.entry.reserved ? "unchanged" : present ? "kept" : "created";
  const note = elsewhere ? elsewhereText(elsewhere, key) : OUTCOMES[outcome];
  if (flags.json) line(session.out, JSON.stringify({ key, outcome, value: entry.value, note }, undefined, 2));
  else {
    line(session.out, `${key} is reserved for ${Object.values(publicIp).join(" ")}`);
    line(session.out, note);
  }
  return 0;
}

const OUTCOMES = {
  unchanged: "it was so before",
  kept: "it is the lease that the node has: it only lost its end, and flanneld goes on without noticing",
  created: "the node takes it when its flanneld starts next",
};

function elsewhereText({ entry, subnet }: KnownLease, key: string): string {
  const now = Object.values(subnet).join(" ");
  return (
    `the node has ${now} now and keeps it while flanneld runs or finds it again; to have it take ${key}, revoke the other: ` +
    `flannelctl lease revoke ${entry.key}`
  );
}

export async function unreserveSubnet(
  texts: readonly string[],
  flags: UnreserveFlags,
  session: Session,
  signal: AbortSignal,
): Promise<number> {
  using store = await openStore(storeChoiceOf(flags, process.env), { make: false }, signal);
  const leases = await readLeases(store, false, signal);
  const subnet = subnetsFrom(texts);
  const wanted = subnet ? formatLeaseKey(subnet) : texts.join(" ");
  const found = findLease(leases, wanted);
  if (!found)
    throw new Error(
      `cannot unreserve ${wanted}: ${store.description} holds no lease for it; see flannelctl subnets ls`,
    );
  const { entry } = found;
  if (!entry.reserved)
    throw new Error(
      `cannot unreserve ${entry.key}: it is a lease that ends by itself; flannelctl lease revoke ends it now`,
    );
  if (flags.remove) {
    if ((await store.remove(entry, signal)) === "conflict") throw conflict(entry.key, store);
  } else orConflict(await store.replace(entry, entry.value, flags.ttl, signal), entry.key, store);
  const text = flags.remove
    ? `${entry.key} is free; a flanneld that uses it notices at once and takes a subnet anew, the same one first`
    : `${entry.key} ends in ${durationText(flags.ttl)}, unless its flanneld renews it`;
  if (flags.json)
    line(
      session.out,
      JSON.stringify({ key: entry.key, outcome: flags.remove ? "removed" : "given an end", note: text }, undefined, 2),
    );
  else line(session.out, text);
  return 0;
}

async function rightConfig(store: Registry, signal: AbortSignal): Promise<NetworkConfig> {
  const config = configOf((await store.config(signal)).text);
  if (config) return config;
  throw new StoreError(
    "absent",
    store.description,
    `cannot reserve a subnet: ${store.description} holds no network configuration that is right; see flannelctl config check`,
  );
}

function whyUnfit({ ranges }: NetworkConfig): string {
  const wanted = mapFamilies(
    ranges,
    ({ network, subnetLength, first, last }) => `a /${subnetLength} of ${network} from ${first} to ${last}`,
  );
  return `want ${Object.values(wanted).join(" and ")}`;
}

function rivalText({ entry, attributes }: KnownLease, key: string, store: Registry): string {
  const owner =
    Object.values(attributes?.publicIp ?? ({} as PerFamily<Prefix>)).join(" ") || "a node whose value does not parse";
  const kind = entry.reserved ? "is reserved" : "is leased";
  return `${entry.key === key ? "it" : entry.key} ${kind} by ${owner} in ${store.description}; ${entry.reserved ? "unreserve it" : "revoke that lease"} first`;
}

function orConflict(result: RegistryEntry | "exists" | "conflict", key: string, store: Registry): RegistryEntry {
  if (typeof result === "string") throw conflict(key, store);
  return result;
}

export function conflict(key: string, store: Registry): StoreError {
  return new StoreError(
    "conflict",
    store.description,
    `cannot change ${key}: somebody else changed it in this moment; try again`,
  );
}
