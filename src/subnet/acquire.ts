// Getting a subnet: the lease this node has, else the subnet it had, else a free one. Nothing is locked: of nodes
// that race for a key one creates it, and the others look again. Two keys can overlap without being equal (dual
// stack: one half each; another SubnetLen), so who created one looks once more, and the later of two rivals gives
// way. Reading order is creation order, so both agree on which is later.

import type { NetworkConfig } from "../config/network.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import { formatLeaseAttributes } from "../lease/attributes.ts";
import { formatLeaseKey } from "../lease/key.ts";
import { chooseSubnets, fitsRanges, haveRivals } from "./allocation.ts";
import { fullError } from "./full_error.ts";
import { isOfNode, type KnownLease, knownLeases, subnetsOverlap } from "./known_lease.ts";
import type { LeaseRequest } from "./manager.ts";
import { pause } from "./pause.ts";
import type { Registry, RegistryEntry, Snapshot } from "./registry.ts";
import type { SubnetEvent } from "./store_retry.ts";

/** How often a full range is looked at again while it holds rivals, one of whom will give way. */
const FULL_TRIES = 20;
/** Jittered waits between tries, in milliseconds. */
const FIRST_WAIT_MS = 10;
const MAX_WAIT_MS = 500;

export interface AcquireContext {
  readonly registry: Registry;
  readonly ttlMs: number;
  readonly random: () => number;
  readonly onEvent: (event: SubnetEvent) => void;
  /** The entry this process holds: ours even under the public IP it had before. */
  readonly held: RegistryEntry | undefined;
  /** Leases that the store has lost and that may come back: their subnets are taken. */
  readonly heldOver: readonly RegistryEntry[];
}

export interface Acquired {
  readonly entry: RegistryEntry;
  readonly subnet: PerFamily<Prefix>;
  /** What was read, for whoever goes on from there. */
  readonly snapshot: Snapshot;
}

/** `known`: what was read just before; it is looked at first, and read again only when that leads nowhere. */
export async function acquireLease(
  context: AcquireContext,
  config: NetworkConfig,
  request: LeaseRequest,
  known: Snapshot | undefined,
  signal: AbortSignal,
): Promise<Acquired> {
  for (let round = 0; ; round++) {
    const snapshot = (round === 0 && known) || (await context.registry.entries(signal));
    const acquired = await tryAcquire(context, config, request, snapshot, round, signal);
    if (acquired) return acquired;
    await pause(Math.min(FIRST_WAIT_MS * 2 ** round, MAX_WAIT_MS) * context.random(), signal);
  }
}

/** undefined: somebody else was quicker, look again. */
async function tryAcquire(
  context: AcquireContext,
  config: NetworkConfig,
  request: LeaseRequest,
  snapshot: Snapshot,
  round: number,
  signal: AbortSignal,
): Promise<Acquired | undefined> {
  const { registry, held } = context;
  const { publicIp } = request.attributes;
  const isOurs = (lease: KnownLease) =>
    isOfNode(lease, publicIp) || (lease.entry.key === held?.key && lease.entry.value === held.value);
  const all = knownLeases(snapshot.entries);
  const ours = all.filter(isOurs);
  const others = ours.length === 0 ? all : all.filter((lease) => !ours.includes(lease));

  const previousKey = Object.keys(request.previous).length > 0 ? formatLeaseKey(request.previous) : undefined;
  const fitting = ours.filter(({ subnet }) => fitsRanges(config.ranges, subnet));
  const kept = fitting.find(({ entry }) => entry.key === (held?.key ?? previousKey)) ?? fitting[0];
  const unfit = ours.filter((lease) => !fitting.includes(lease));
  if (kept) {
    const entry = await update(context, kept.entry, request, signal);
    if (!entry) return undefined;
    await removeUnfit(context, unfit, kept.subnet, signal);
    return { entry, subnet: kept.subnet, snapshot };
  }

  const taken = [...others, ...knownLeases(context.heldOver)].map(({ subnet }) => subnet);
  const wishes = [...unfit.map(({ subnet }) => subnet), request.previous];
  const subnet = chooseSubnets(config.ranges, taken, wishes, context.random);
  if ("kind" in subnet) {
    if (haveRivals(taken) && round < FULL_TRIES) return undefined;
    throw fullError(subnet, others, registry.description);
  }
  // What is carried over from a reservation stays one.
  const reserved = unfit.some(({ entry, subnet: had }) => entry.reserved && subnetsOverlap(had, subnet));
  const key = formatLeaseKey(subnet);
  const value = valueFor(registry, request);
  const created = await registry.create(key, value, reserved ? undefined : context.ttlMs, signal);
  if (created === "exists" || !(await holdsItsGround(registry, created, subnet, isOurs, snapshot, signal))) {
    context.onEvent({ kind: "contended", key });
    return undefined;
  }
  await removeUnfit(context, unfit, subnet, signal);
  return { entry: created, subnet, snapshot };
}

function valueFor({ kind }: Registry, { attributes }: LeaseRequest): string {
  return formatLeaseAttributes(attributes, kind === "etcd2" ? "etcd2" : "current");
}

/** Writes the attributes into our own entry, and gives it its full time again; a reservation stays one. */
async function update(
  { registry, ttlMs }: AcquireContext,
  entry: RegistryEntry,
  request: LeaseRequest,
  signal: AbortSignal,
): Promise<RegistryEntry | undefined> {
  const value = valueFor(registry, request);
  const { reserved } = entry;
  if (entry.value !== value) {
    const replaced = await registry.replace(entry, value, reserved ? undefined : ttlMs, signal);
    return replaced === "conflict" ? undefined : replaced;
  }
  if (reserved) return entry;
  const renewed = await registry.renew(entry, ttlMs, signal);
  return renewed === "lost" ? undefined : renewed;
}

/** Whether the entry just created overlaps nothing that came between reading and creating; if it does, it is removed again. */
async function holdsItsGround(
  registry: Registry,
  created: RegistryEntry,
  subnet: PerFamily<Prefix>,
  isOurs: (lease: KnownLease) => boolean,
  snapshot: Snapshot,
  signal: AbortSignal,
): Promise<boolean> {
  const since = knownLeases(await registry.createdSince(snapshot.revision, signal));
  const at = since.findIndex(({ entry }) => entry.key === created.key);
  const found = since[at];
  if (!found || !isOurs(found)) return false;
  const rival = since.slice(0, at).find((lease) => subnetsOverlap(lease.subnet, subnet) && !isOurs(lease));
  if (!rival) return true;
  await registry.remove(created, signal);
  return false;
}

/**
 * Our leases of another configuration go, once the new one stands. A reservation goes only if the new one carries it
 * on.
 */
async function removeUnfit(
  { registry, onEvent }: AcquireContext,
  unfit: readonly KnownLease[],
  subnet: PerFamily<Prefix>,
  signal: AbortSignal,
): Promise<void> {
  for (const { entry, subnet: had } of unfit) {
    const removed = !entry.reserved || subnetsOverlap(had, subnet);
    if (removed) await registry.remove(entry, signal);
    onEvent({ kind: "unfit lease", key: entry.key, removed });
  }
}
