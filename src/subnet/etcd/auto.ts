// The registry of --etcd-api=auto: asks both generations for the configuration until one has it (generation.ts), and is that
// one from then on. Each one's library is loaded when it is asked; the other one's connections end with the decision.

import { posix } from "node:path";
import type { Batch, Registry, RegistryEntry, RegistryKind, Revision, Snapshot, StoredConfig } from "../registry.ts";
import { StoreError } from "../store_error.ts";
import { type Answer, type Decision, decideGeneration, type Generation } from "./generation.ts";
import type { EtcdOptions } from "./options.ts";

export type Generations = Readonly<Record<Generation, (options: EtcdOptions) => Promise<Registry>>>;

const REAL: Generations = {
  v3: async (options) => new (await import("./registry3.ts")).Etcd3Registry(options),
  v2: async (options) => new (await import("./registry2.ts")).Etcd2Registry(options),
};

export class AutoRegistry implements Registry {
  readonly #options: EtcdOptions;
  readonly #generations: Generations;
  readonly #opened = new Map<Generation, Promise<Registry>>();
  #chosen: Registry | undefined;

  constructor(options: EtcdOptions, generations: Generations = REAL) {
    this.#options = options;
    this.#generations = generations;
  }

  /** Before the decision the one that is preferred. */
  get kind(): RegistryKind {
    return this.#chosen?.kind ?? "etcd3";
  }

  get configKey(): string {
    return posix.join(this.#options.prefix, "config");
  }

  get description(): string {
    return this.#chosen?.description ?? `etcd at ${this.#place}`;
  }

  async config(signal: AbortSignal): Promise<StoredConfig> {
    if (this.#chosen) return this.#chosen.config(signal);
    const { decision, revision } = await this.#decide(signal);
    return decision.kind === "chosen" ? decision.stored : { text: undefined, revision };
  }

  async setConfig(text: string, signal: AbortSignal): Promise<void> {
    return (await this.#use(signal)).setConfig(text, signal);
  }

  async *watchConfig(since: Revision, signal: AbortSignal): AsyncGenerator<StoredConfig, void, undefined> {
    try {
      let from = since;
      while (!this.#chosen) {
        await this.#changed(from, signal);
        const { decision, revision } = await this.#decide(signal);
        from = revision;
        if (decision.kind === "chosen") yield decision.stored;
      }
      yield* this.#chosen.watchConfig(ownPart(from, this.#chosen.kind), signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  async entries(signal: AbortSignal): Promise<Snapshot> {
    return (await this.#use(signal)).entries(signal);
  }

  async entry(key: string, signal: AbortSignal): Promise<{ entry: RegistryEntry | undefined; revision: Revision }> {
    return (await this.#use(signal)).entry(key, signal);
  }

  async createdSince(since: Revision, signal: AbortSignal): Promise<readonly RegistryEntry[]> {
    return (await this.#use(signal)).createdSince(since, signal);
  }

  async expiry(entry: RegistryEntry, signal: AbortSignal): Promise<number | undefined> {
    return (await this.#use(signal)).expiry(entry, signal);
  }

  async create(
    key: string,
    value: string,
    ttlMs: number | undefined,
    signal: AbortSignal,
  ): Promise<RegistryEntry | "exists"> {
    return (await this.#use(signal)).create(key, value, ttlMs, signal);
  }

  async replace(
    entry: RegistryEntry,
    value: string,
    ttlMs: number | undefined,
    signal: AbortSignal,
  ): Promise<RegistryEntry | "conflict"> {
    return (await this.#use(signal)).replace(entry, value, ttlMs, signal);
  }

  async renew(entry: RegistryEntry, ttlMs: number, signal: AbortSignal): Promise<RegistryEntry | "lost"> {
    return (await this.#use(signal)).renew(entry, ttlMs, signal);
  }

  async remove(entry: RegistryEntry, signal: AbortSignal): Promise<"removed" | "conflict"> {
    return (await this.#use(signal)).remove(entry, signal);
  }

  async *watch(since: Revision, signal: AbortSignal, key?: string): AsyncGenerator<Batch, void, undefined> {
    try {
      yield* (await this.#use(signal)).watch(since, signal, key);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const generation of this.#opened.keys()) this.#close(generation);
  }

  get #place(): string {
    const { endpoints, discoverySrv } = this.#options;
    return discoverySrv === "" ? endpoints.join(", ") : `the members that SRV records of ${discoverySrv} name`;
  }

  /** The one that was chosen; while there is no configuration, the preferred one that is offered (for tools). */
  async #use(signal: AbortSignal): Promise<Registry> {
    if (this.#chosen) return this.#chosen;
    const { decision } = await this.#decide(signal);
    if (this.#chosen) return this.#chosen;
    return this.#open(decision.kind === "open" ? (decision.offered[0] ?? "v3") : "v3");
  }

  /** Throws what keeps it from deciding. `revision` is where to wait for a configuration from. */
  async #decide(signal: AbortSignal) {
    signal.throwIfAborted();
    const [v3, v2] = await Promise.all([this.#ask("v3", signal), this.#ask("v2", signal)]);
    signal.throwIfAborted();
    const decision: Decision = decideGeneration(v3, v2, this.configKey, this.#place);
    if (decision.kind === "failed") throw decision.error;
    if (decision.kind === "chosen" && !this.#chosen) {
      this.#chosen = await this.#open(decision.generation);
      this.#close(decision.generation === "v3" ? "v2" : "v3");
    }
    const revision = decision.kind === "chosen" ? decision.stored.revision : joined(v3, v2);
    return { decision, revision };
  }

  async #ask(generation: Generation, signal: AbortSignal): Promise<Answer> {
    try {
      const registry = await this.#open(generation);
      return { kind: "read", stored: await registry.config(signal) };
    } catch (error) {
      if (signal.aborted || !(error instanceof StoreError)) throw error;
      return { kind: "failed", error };
    }
  }

  /** Resolves when a generation's configuration changed since it was read. */
  async #changed(since: Revision, signal: AbortSignal): Promise<void> {
    const stopping = new AbortController();
    const stop = AbortSignal.any([signal, stopping.signal]);
    const waits = parts(since).map(async ([generation, revision]) => {
      const registry = await this.#open(generation);
      for await (const _ of registry.watchConfig(revision, stop)) return;
    });
    if (waits.length === 0) {
      throw new StoreError("compacted", this.#place, `cannot wait for a configuration from ${since}; read it again`);
    }
    for (const wait of waits) wait.catch(() => {}); // the first one that ends counts
    try {
      await Promise.race(waits);
      signal.throwIfAborted();
    } finally {
      stopping.abort(new Error("a configuration changed"));
    }
  }

  #open(generation: Generation): Promise<Registry> {
    const opened = this.#opened.get(generation) ?? this.#generations[generation](this.#options);
    this.#opened.set(generation, opened);
    return opened;
  }

  #close(generation: Generation): void {
    const opened = this.#opened.get(generation);
    this.#opened.delete(generation);
    opened?.then((registry) => registry[Symbol.dispose]()).catch(() => {}); // one that could not be opened needs no end
  }
}

/** One revision of two stores, for those that could be read. */
function joined(v3: Answer, v2: Answer): Revision {
  const revisions = [v3, v2].map((answer) => (answer.kind === "read" ? answer.stored.revision : null));
  return JSON.stringify(revisions) as Revision;
}

function parts(revision: Revision): [Generation, Revision][] {
  const found: (Revision | null)[] = revision.startsWith("[") ? JSON.parse(revision) : [];
  const generations: Generation[] = ["v3", "v2"];
  return generations.flatMap((generation, i) => (found[i] ? [[generation, found[i]]] : []));
}

/** `revision` as the chosen one knows it. */
function ownPart(revision: Revision, kind: RegistryKind): Revision {
  return parts(revision).find(([generation]) => (generation === "v2") === (kind === "etcd2"))?.[1] ?? revision;
}
