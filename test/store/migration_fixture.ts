// Two embedded stores with one clock that the test sets, and nodes that live on one of them: a day passes in no time. One side can
// hide when its leases end until it is asked, as etcd v3 does.

import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bringInStep } from "../../src/ctl/migrate/keep_in_step.ts";
import { Migration, type MigrationEvent } from "../../src/ctl/migrate/migration.ts";
import { COPY_TIMING, type Side } from "../../src/ctl/migrate/reconcile.ts";
import type { Lease } from "../../src/lease/lease.ts";
import { EmbeddedRegistry } from "../../src/subnet/embedded.ts";
import type { Registry, RegistryEntry } from "../../src/subnet/registry.ts";
import { createSubnetManager } from "../../src/subnet/registry_manager.ts";
import { config, node, request } from "./manager_fixture.ts";

export const HOUR = 3_600_000;
export const MINUTE = 60_000;
const START = 1_800_000_000_000;

export const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

export class TwoStores implements Disposable {
  readonly signal: AbortSignal;
  readonly events: MigrationEvent[] = [];
  onEvent = () => {};
  readonly #directory = mkdtempSync(join(tmpdir(), "flannel-migration-"));
  readonly #controller = new AbortController();
  readonly #registries = new Map<Side, Registry>();
  #elapsedMs = 0;

  constructor() {
    this.signal = this.#controller.signal;
  }

  static async open({ hidden = "to" }: { readonly hidden?: Side | "none" } = {}): Promise<TwoStores> {
    const stores = new TwoStores();
    for (const side of ["from", "to"] as const) {
      const clock = { boot: "test", uptimeMs: () => stores.#elapsedMs, wallMs: () => START };
      const registry = await EmbeddedRegistry.open(stores.path(side), { clock }, stores.signal);
      stores.#registries.set(side, side === hidden ? withoutEnds(registry) : registry);
    }
    await stores.on("from").setConfig(CONFIG, stores.signal);
    return stores;
  }

  on(side: Side): Registry {
    const registry = this.#registries.get(side);
    if (!registry) throw new Error(`${side} is not open`);
    return registry;
  }

  path(side: Side): string {
    return join(this.#directory, `${side}.db`);
  }

  get now(): number {
    return START + this.#elapsedMs;
  }

  pass(ms: number): void {
    this.#elapsedMs += ms;
  }

  /** Configuration and leases of a side, as `etcdctl rm --recursive` takes them. */
  takeAway(side: Side): void {
    using db = new Database(this.path(side));
    db.run("UPDATE meta SET config = NULL, revision = revision + 1, config_revision = revision + 1");
    db.run("DELETE FROM leases");
  }

  /** A migration without memory, as after a start. */
  migration(): Migration {
    const onEvent = (event: MigrationEvent) => {
      this.events.push(event);
      this.onEvent();
    };
    return new Migration(this.on("from"), this.on("to"), { timing: COPY_TIMING, now: () => this.now, onEvent });
  }

  async inStep(migration: Migration) {
    return await bringInStep(migration, true, 1, this.signal);
  }

  /** What flanneld does at a start and, for the same lease, when it is due to renew. */
  async acquire(side: Side, publicIp: string, vni = 1): Promise<Lease> {
    const manager = createSubnetManager(this.on(side));
    const attributes = { ...node(publicIp), backendData: { ipv4: { VNI: vni } } };
    return await manager.acquire(config(CONFIG), request(attributes), this.signal);
  }

  async entry(side: Side, key: string): Promise<RegistryEntry | undefined> {
    return (await this.on(side).entry(key, this.signal)).entry;
  }

  /** Minutes that an entry has left; undefined when it is gone, Infinity for a reservation. */
  async left(side: Side, key: string): Promise<number | undefined> {
    const entry = await this.entry(side, key);
    if (!entry || entry.reserved) return entry && Number.POSITIVE_INFINITY;
    const end = await this.on(side).expiry(entry, this.signal);
    return end === undefined ? undefined : Math.round((end - this.now) / MINUTE);
  }

  /** `key value` or `key value reserved` of each, sorted. */
  async content(side: Side): Promise<string[]> {
    const { entries } = await this.on(side).entries(this.signal);
    return entries.map(({ key, value, reserved }) => `${key} ${value}${reserved ? " reserved" : ""}`).sort();
  }

  [Symbol.dispose](): void {
    this.#controller.abort();
    for (const registry of this.#registries.values()) registry[Symbol.dispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** The registry without `expiresAt`, which only `expiry` tells. */
function withoutEnds(over: Registry): Registry {
  const hide = (result: unknown): unknown => {
    if (Array.isArray(result)) return result.map(hide);
    if (typeof result !== "object" || result === null) return result;
    if ("expiresAt" in result) return { ...result, expiresAt: undefined };
    if ("entry" in result) return { ...result, entry: hide(result.entry) };
    if ("entries" in result) return { ...result, entries: hide(result.entries) };
    return result;
  };
  return new Proxy(over, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...parameters: unknown[]) => {
        const result: unknown = Reflect.apply(value, target, parameters);
        return result instanceof Promise ? result.then(hide) : result;
      };
    },
  });
}
