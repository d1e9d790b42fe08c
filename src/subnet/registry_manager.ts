// The subnet manager over a registry: the same for the embedded store and for etcd, because a registry is all it sees.

import { parseNetworkConfig } from "../config/net_conf.ts";
import type { NetworkConfig } from "../config/network.ts";
import type { Address } from "../ip/address.ts";
import type { PerFamily } from "../ip/family.ts";
import { parseLeaseAttributes } from "../lease/attributes.ts";
import { formatLeaseKey } from "../lease/key.ts";
import type { Lease } from "../lease/lease.ts";
import { type LeaseSet, LeaseSetBuilder, type LeaseSetContext } from "../lease/set.ts";
import { acquireLease } from "./acquire.ts";
import { keepLease } from "./keep.ts";
import { hasPublicIp, isOfNode, knownLeases } from "./known_lease.ts";
import type { LeaseRequest, Remembered, SubnetManager } from "./manager.ts";
import type { Registry, RegistryEntry } from "./registry.ts";
import { StoreError } from "./store_error.ts";
import { type RetryDelays, StoreRetry, type SubnetEvent } from "./store_retry.ts";

export interface SubnetManagerOptions {
  /** Life time of a lease that is not renewed. */
  readonly ttlMs: number;
  /** How long before its end a lease is renewed; less than `ttlMs`. */
  readonly renewMarginMs: number;
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
  retry: { firstMs: 200, maxMs: 5000 },
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
  }

  get description(): string {
    return this.#registry.description;
  }

  async networkConfig(signal: AbortSignal, onWait: (reason: string) => void): Promise<NetworkConfig> {
    let told: string | undefined;
    const wait = (reason: string) => {
      if (reason !== told) onWait(reason);
      told = reason;
    };
    const read = async () => {
      try {
        return await this.#readConfig(signal, wait);
      } catch (error) {
        if (error instanceof StoreError) wait(error.message);
        throw error;
      }
    };
    const text = await this.#retry.persist("reading the configuration", read, signal);
    return parseNetworkConfig(text, `${this.description}: config`);
  }

  async remembered(publicIp: PerFamily<Address>, signal: AbortSignal): Promise<Remembered> {
    const read = () => this.#registry.entries(signal);
    const { entries } = await this.#retry.persist("reading leases", read, signal);
    const own = knownLeases(entries).find((lease) => isOfNode(lease, publicIp));
    return own?.attributes ?? {};
  }

  async acquire(config: NetworkConfig, request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    const { ttlMs, renewMarginMs, random, now, onEvent } = this.#options;
    this.#publicIp = request.attributes.publicIp;
    let begun = now();
    const acquire = () => {
      begun = now();
      const context = { registry: this.#registry, ttlMs, random, onEvent, held: this.#held?.entry };
      return acquireLease(context, config, request, signal);
    };
    const { entry, subnet } = await this.#retry.persist("acquiring a lease", acquire, signal);
    this.#held = { entry, renewAt: begun + ttlMs - renewMarginMs };
    return { ...request.attributes, key: formatLeaseKey(subnet), subnet, expiresAt: entry.expiresAt };
  }

  async *leaseSets(context: LeaseSetContext, signal: AbortSignal): AsyncGenerator<LeaseSet, void, undefined> {
    const activity = "watching leases";
    const builder = new LeaseSetBuilder(context);
    while (!signal.aborted) {
      try {
        const { entries, revision } = await this.#registry.entries(signal);
        this.#retry.succeeded(activity);
        builder.reset(entries);
        const whole = builder.take();
        if (whole) yield whole;
        for await (const batch of this.#registry.watch(revision, signal)) {
          for (const change of batch) {
            if (change.kind === "put") builder.put(change.entry);
            else builder.remove(change.key);
          }
          const set = builder.take();
          if (set) yield set;
        }
      } catch (error) {
        if (signal.aborted) return;
        // To be too far behind is no failure: the whole is read again at once.
        if (error instanceof StoreError && error.reason === "compacted") continue;
        await this.#retry.failed(activity, error, signal).catch((failure: unknown) => {
          if (!signal.aborted) throw failure;
        });
      }
    }
  }

  keep(own: Lease, signal: AbortSignal): Promise<"lost" | "stopped"> {
    const { ttlMs, renewMarginMs, now, onEvent } = this.#options;
    const isOurs = ({ value }: RegistryEntry) => {
      const attributes = parseLeaseAttributes(value);
      return !("kind" in attributes) && [own.publicIp, this.#publicIp].some((ips) => hasPublicIp(attributes, ips));
    };
    const onRenewed = (entry: RegistryEntry) => onEvent({ kind: "renewed", key: entry.key });
    const context = { registry: this.#registry, retry: this.#retry, ttlMs, renewMarginMs, now, isOurs, onRenewed };
    const renewAt = this.#held?.entry.key === own.key ? this.#held.renewAt : now();
    return keepLease(context, own.key, renewAt, signal);
  }

  [Symbol.dispose](): void {
    this.#registry[Symbol.dispose]();
  }

  /** The configuration's text, as soon as there is one. */
  async #readConfig(signal: AbortSignal, onWait: (reason: string) => void): Promise<string> {
    const { text, revision } = await this.#registry.config(signal);
    if (text !== undefined) return text;
    onWait(`${this.description} holds no network configuration yet`);
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
