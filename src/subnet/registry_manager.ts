// The subnet manager over a registry: the same for the embedded store and for etcd, because a registry is all it sees.

import { IPV4_NEEDED, parseNetworkConfig } from "../config/net_conf.ts";
import type { NetworkConfig } from "../config/network.ts";
import type { Address } from "../ip/address.ts";
import type { PerFamily } from "../ip/family.ts";
import { parseLeaseAttributes } from "../lease/attributes.ts";
import { formatLeaseKey } from "../lease/key.ts";
import type { Lease } from "../lease/lease.ts";
import { type LeaseSet, LeaseSetBuilder, type LeaseSetContext } from "../lease/set.ts";
import { acquireLease } from "./acquire.ts";
import { HeldOver } from "./held_over.ts";
import { keepLease } from "./keep.ts";
import { hasPublicIp, isOfNode, knownLeases } from "./known_lease.ts";
import type { LeaseRequest, Remembered, SubnetManager } from "./manager.ts";
import type { Change, Registry, RegistryEntry, RegistryKind, Revision, Snapshot } from "./registry.ts";
import { StoreError } from "./store_error.ts";
import { type RetryDelays, StoreRetry, type SubnetEvent } from "./store_retry.ts";
import { within } from "./within.ts";

export interface SubnetManagerOptions {
  /** Life time of a lease that is not renewed. */
  readonly ttlMs: number;
  /** How long before its end a lease is renewed; less than `ttlMs`. */
  readonly renewMarginMs: number;
  /** How long leases stay in force that are missing because the store lost its data. */
  readonly lossGraceMs: number;
  readonly retry: RetryDelays;
  /** In [0, 1). */
  readonly random: () => number;
  /** Monotonic, in milliseconds: renewals must not follow the wall clock when it is set. */
  readonly now: () => number;
  readonly onEvent: (event: SubnetEvent) => void;
}

const DEFAULTS: SubnetManagerOptions = {
  ttlMs: 24 * 60 * 60 * 1000, // upstream's
  renewMarginMs: 60 * 60 * 1000, // upstream's
  lossGraceMs: 10 * 60 * 1000,
  retry: { firstMs: 100, maxMs: 600 }, // so that a store that is back is noticed within a second or so
  random: Math.random,
  now: () => performance.now(),
  onEvent: () => {},
};

/** The manager owns `registry` and closes it. */
export function createSubnetManager(registry: Registry, options: Partial<SubnetManagerOptions> = {}): SubnetManager {
  return new RegistryManager(registry, { ...DEFAULTS, ...options });
}

class RegistryManager implements SubnetManager {
  readonly #registry: Registry;
  readonly #options: SubnetManagerOptions;
  readonly #retry: StoreRetry;
  readonly #heldOver: HeldOver;
  /** The whole store as read last, for the step that follows. */
  #snapshot: Snapshot | undefined;
  /** Our entry, and until when it need not be renewed, by `options.now`. */
  #held: { readonly entry: RegistryEntry; readonly renewAt: number } | undefined;
  /** The public IPs last asked for, set before they are written: a watch may show them before the write returns. */
  #publicIp: PerFamily<Address> = {};

  constructor(registry: Registry, options: SubnetManagerOptions) {
    const { ttlMs, renewMarginMs } = options;
    if (!(renewMarginMs > 0 && renewMarginMs < ttlMs)) {
      throw new RangeError(`Cannot renew a lease of ${ttlMs} ms ${renewMarginMs} ms before its end`);
    }
    this.#registry = registry;
    this.#options = options;
    this.#retry = new StoreRetry(options.retry, options.random, options.onEvent);
    const { lossGraceMs: graceMs, now, onEvent } = options;
    this.#heldOver = new HeldOver(graceMs, now, (missing) => onEvent({ kind: "data lost", missing, graceMs }));
  }

  get kind(): RegistryKind {
    return this.#registry.kind;
  }

  get description(): string {
    return this.#registry.description;
  }

  async networkConfig(signal: AbortSignal, onWait: (reason: string) => void): Promise<NetworkConfig> {
    let told = false;
    const wait = (reason: string) => {
      if (!told) onWait(reason);
      told = true;
    };
    const read = () => this.#readConfig(signal, wait);
    const hopeless = ["denied", "invalid", "absent", "full"] as const;
    const text = await this.#retry.persist("reading the configuration", hopeless, read, signal);
    return parseNetworkConfig(text, `${this.description}: config`, ipv4NeededBy(this.#registry));
  }

  async wishedPublicIp(): Promise<PerFamily<Address>> {
    return {};
  }

  async ready(): Promise<void> {}

  async remembered(publicIp: PerFamily<Address>, signal: AbortSignal): Promise<Remembered> {
    const read = () => this.#registry.entries(signal);
    this.#snapshot = await this.#retry.persist("reading leases", ["invalid"], read, signal);
    const own = knownLeases(this.#snapshot.entries).find((lease) => isOfNode(lease, publicIp));
    return own?.attributes ?? {};
  }

  async acquire(config: NetworkConfig, request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    const { ttlMs, renewMarginMs, random, now, onEvent } = this.#options;
    this.#publicIp = request.attributes.publicIp;
    let begun = now();
    const acquire = () => {
      begun = now();
      const heldOver = this.#heldOver.entries;
      const context = { registry: this.#registry, ttlMs, random, onEvent, held: this.#held?.entry, heldOver };
      // What was read before our own lease was written does not know of it.
      const known = this.#held ? undefined : this.#takeSnapshot();
      return acquireLease(context, config, request, known, signal);
    };
    const { entry, subnet, snapshot } = await this.#retry.persist(
      "acquiring a lease",
      ["invalid", "full"],
      acquire,
      signal,
    );
    this.#snapshot = snapshot;
    this.#held = { entry, renewAt: begun + ttlMs - renewMarginMs };
    return { ...request.attributes, key: formatLeaseKey(subnet), subnet, expiresAt: entry.expiresAt };
  }

  async *leaseSets(context: LeaseSetContext, signal: AbortSignal): AsyncGenerator<LeaseSet, void, undefined> {
    const activity = "watching leases";
    const builder = new LeaseSetBuilder(context);
    let since: Revision | undefined;
    while (!signal.aborted) {
      try {
        if (since === undefined) {
          const snapshot = this.#takeSnapshot() ?? (await this.#registry.entries(signal));
          this.#retry.succeeded(activity);
          builder.reset(this.#heldOver.whole(snapshot, (entry) => this.#isOwn(entry, context.own)));
          since = snapshot.revision;
          const whole = builder.take();
          if (whole) yield whole;
        }
        for await (const batch of this.#batches(since, signal)) {
          this.#retry.succeeded(activity);
          since = batch.revision ?? since;
          for (const change of batch.changes) {
            if (change.kind === "put") builder.put(change.entry);
            else builder.remove(change.key);
          }
          const set = builder.take();
          if (set) yield set;
        }
      } catch (error) {
        if (signal.aborted) return;
        // A broken watch goes on where it was; only one that is too far behind has to read everything again.
        if (error instanceof StoreError && error.reason === "compacted") since = undefined;
        await this.#retry.failed(activity, error, signal).catch((failure: unknown) => {
          if (!signal.aborted) throw failure;
        });
      }
    }
  }

  keep(own: Lease, signal: AbortSignal): Promise<"lost" | "stopped"> {
    const { ttlMs, renewMarginMs, now, onEvent } = this.#options;
    const isOurs = ({ value }: RegistryEntry) => this.#isOfThisNode(value, own);
    const onRenewed = (entry: RegistryEntry) => onEvent({ kind: "renewed", key: entry.key });
    const context = { registry: this.#registry, retry: this.#retry, ttlMs, renewMarginMs, now, isOurs, onRenewed };
    const renewAt = this.#held?.entry.key === own.key ? this.#held.renewAt : now();
    return keepLease(context, own.key, renewAt, signal);
  }

  /** The watch's batches, and removals of their own when the time of leases held over is up. */
  async *#batches(
    since: Revision,
    signal: AbortSignal,
  ): AsyncGenerator<{ readonly changes: readonly Change[]; readonly revision?: Revision }, void, undefined> {
    const watch = this.#registry.watch(since, signal)[Symbol.asyncIterator]();
    try {
      let next = watch.next();
      for (;;) {
        next.catch(() => {}); // it is awaited, but perhaps after a removal was yielded
        const event = await within(this.#heldOver.remainingMs, next);
        if (event === "due") {
          const changes = this.#heldOver.expire();
          if (changes.length > 0) {
            this.#options.onEvent({ kind: "given up", keys: changes.map(keyOfChange) });
            yield { changes };
          }
          continue;
        }
        if (event.done) return;
        yield { changes: this.#heldOver.apply(event.value.changes), revision: event.value.revision };
        next = watch.next();
      }
    } finally {
      await watch.return?.();
    }
  }

  /** What was read on the way here, once: later it may be hours old. */
  #takeSnapshot(): Snapshot | undefined {
    const snapshot = this.#snapshot;
    this.#snapshot = undefined;
    return snapshot;
  }

  #isOwn({ key, value }: RegistryEntry, own: Lease): boolean {
    return key === own.key || this.#isOfThisNode(value, own);
  }

  #isOfThisNode(value: string, own: Lease): boolean {
    const attributes = parseLeaseAttributes(value);
    return !("kind" in attributes) && [own.publicIp, this.#publicIp].some((ips) => hasPublicIp(attributes, ips));
  }

  [Symbol.dispose](): void {
    this.#registry[Symbol.dispose]();
  }

  /** The configuration's text, as soon as there is one. */
  async #readConfig(signal: AbortSignal, onWait: (reason: string) => void): Promise<string> {
    const { text, revision } = await this.#registry.config(signal);
    if (text !== undefined) return text;
    const { configKey } = this.#registry;
    onWait(`${this.description} holds no network configuration yet${configKey ? ` under ${configKey}` : ""}`);
    for await (const next of this.#registry.watchConfig(revision, signal)) {
      if (next.text !== undefined) return next.text;
    }
    signal.throwIfAborted();
    throw new StoreError(
      "unreachable",
      this.description,
      `cannot watch the configuration: ${this.description} ended it`,
    );
  }
}

export function ipv4NeededBy({ kind }: Registry): typeof IPV4_NEEDED | undefined {
  return kind === "embedded" ? undefined : IPV4_NEEDED;
}

function keyOfChange(change: Change): string {
  return change.kind === "put" ? change.entry.key : change.key;
}
