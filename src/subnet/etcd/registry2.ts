// Registry over etcd's v2 API: keys, values and life times as flannel v0.7.1 writes them (`<prefix>/config`,
// `<prefix>/subnets/<lease key>`, JSON, ttl=86400, a reservation without ttl), so that its daemons share a network with ours.
//
// etcd changes a node's modifiedIndex when its TTL is refreshed, though nobody is told. What a revision stands for is
// therefore creation and value; a compare-and-swap reads the node, compares these, and writes on condition of the index just
// read. That costs a request more, on operations that are rare, and holds for who read the entry before a renewal.

import type { Change, Registry, RegistryEntry, Revision, Snapshot, StoredConfig } from "../registry.ts";
import { StoreError } from "../store_error.ts";
import { ERROR2, type Event2, type Node2 } from "./answer2.ts";
import { EtcdHttp } from "./http.ts";
import { formatRevision, Keys2, type Known2 } from "./keys2.ts";
import type { EtcdOptions } from "./options.ts";
import { watchKeys } from "./watch2.ts";

/** Tries of a compare-and-swap that somebody's renewals come between. */
const SWAP_TRIES = 10;

export class Etcd2Registry implements Registry {
  readonly kind = "etcd2";
  readonly #http: EtcdHttp;
  readonly #keys: Keys2;
  readonly #now: () => number;

  /** `now`: the wall clock, which a lease's remaining seconds are added to. */
  constructor(options: EtcdOptions, now: () => number = Date.now) {
    this.#http = new EtcdHttp(options, now);
    this.#keys = new Keys2(this.#http, options.prefix, options.username);
    this.#now = now;
  }

  get configKey(): string {
    return this.#keys.configKey;
  }

  get description(): string {
    return `etcd v2 at ${this.#http.description}`;
  }

  async config(signal: AbortSignal): Promise<StoredConfig> {
    const known = await this.#keys.ask({ verb: "read", key: this.#keys.configKey }, signal);
    const text = known.kind === "done" ? (known.event.node.value ?? "") : undefined;
    return { text, revision: revisionOf(known) };
  }

  async setConfig(text: string, signal: AbortSignal): Promise<void> {
    const key = this.#keys.configKey;
    const known = await this.#keys.ask({ verb: "write", key, method: "PUT", form: { value: text } }, signal);
    if (known.kind !== "done") throw this.#unexpected("write", key, known.code);
  }

  async *watchConfig(since: Revision, signal: AbortSignal): AsyncGenerator<StoredConfig, void, undefined> {
    for await (const { events, revision } of this.#watch(this.#keys.configKey, false, since, signal)) {
      const last = events.at(-1);
      if (last) yield { text: isRemoval(last) ? undefined : (last.node.value ?? ""), revision };
    }
  }

  async entries(signal: AbortSignal): Promise<Snapshot> {
    const query = { recursive: "true" };
    const known = await this.#keys.ask({ verb: "read", key: this.#keys.leasesKey, query }, signal);
    const nodes = known.kind === "done" ? (known.event.node.nodes ?? []) : [];
    const leases = nodes.filter((node) => !node.dir).toSorted((a, b) => a.createdIndex - b.createdIndex);
    return {
      entries: leases.map((node) => this.#entry(node, known.history)),
      revision: revisionOf(known),
      history: known.history,
    };
  }

  async entry(key: string, signal: AbortSignal): Promise<{ entry: RegistryEntry | undefined; revision: Revision }> {
    const known = await this.#read(key, signal);
    const node = known.kind === "done" && !known.event.node.dir ? known.event.node : undefined;
    return { entry: node && this.#entry(node, known.history), revision: revisionOf(known) };
  }

  /** v0.7.1 renews by "set", which makes a node anew: one it renewed since counts as created since. */
  async createdSince(since: Revision, signal: AbortSignal): Promise<readonly RegistryEntry[]> {
    const { entries } = await this.entries(signal);
    const { index } = this.#keys.indexOf(since);
    return entries.filter((entry) => this.#keys.indexOf(entry.revision).index > index);
  }

  /** Reading told already. */
  async expiry(entry: RegistryEntry, signal: AbortSignal): Promise<number | undefined> {
    signal.throwIfAborted();
    return entry.expiresAt;
  }

  async create(
    key: string,
    value: string,
    ttlMs: number | undefined,
    signal: AbortSignal,
  ): Promise<RegistryEntry | "exists"> {
    const path = this.#keys.leaseKey(key);
    const query = { prevExist: "false" };
    const form = { value, ...ttlForm(ttlMs) };
    const known = await this.#keys.ask({ verb: "create", key: path, method: "PUT", query, form }, signal);
    if (known.kind === "done") return this.#entry(known.event.node, known.history);
    if (known.code === ERROR2.nodeExists) return "exists";
    throw this.#unexpected("create", path, known.code);
  }

  async replace(
    entry: RegistryEntry,
    value: string,
    ttlMs: number | undefined,
    signal: AbortSignal,
  ): Promise<RegistryEntry | "conflict"> {
    const write = async () => ({ method: "PUT", form: { value, ...ttlForm(ttlMs) } }) as const;
    return (await this.#swap("replace", entry, write, signal)) ?? "conflict";
  }

  async renew(entry: RegistryEntry, ttlMs: number, signal: AbortSignal): Promise<RegistryEntry | "lost"> {
    const write = async (current: RegistryEntry) => {
      if (current.reserved) return undefined;
      // With a value next to it a refresh is refused; without support for it a write without a value empties the node.
      const form = (await this.#canRefresh(signal)) ? { refresh: "true" } : { value: current.value };
      return { method: "PUT", form: { ...form, ...ttlForm(ttlMs) } } as const;
    };
    return (await this.#swap("renew", entry, write, signal)) ?? "lost";
  }

  /**
   * Compares, then deletes without a condition: etcd tells of a conditional removal as "compareAndDelete", which v0.7.1 takes for a lease without a value. It
   * fails at that event again and again, and hears of no lease any more. Who writes in the moment between takes a lease anew, as after any removal.
   */
  async remove(entry: RegistryEntry, signal: AbortSignal): Promise<"removed" | "conflict"> {
    const known = await this.#read(entry.key, signal);
    if (known.kind === "not done" || known.event.node.dir) return "conflict";
    if (this.#entry(known.event.node, known.history).revision !== entry.revision) return "conflict";
    const key = this.#keys.leaseKey(entry.key);
    const removed = await this.#keys.ask({ verb: "remove", key, method: "DELETE" }, signal);
    if (removed.kind === "done") return "removed";
    if (removed.code === ERROR2.keyNotFound) return "conflict";
    throw this.#unexpected("remove", key, removed.code);
  }

  async *watch(since: Revision, signal: AbortSignal, key?: string) {
    const path = key === undefined ? this.#keys.leasesKey : this.#keys.leaseKey(key);
    for await (const { events, revision, history } of this.#watch(path, key === undefined, since, signal)) {
      const changes = events.flatMap((event) => this.#change(event, key, history));
      yield { changes, revision };
    }
  }

  [Symbol.dispose](): void {
    this.#http[Symbol.dispose]();
  }

  async *#watch(key: string, recursive: boolean, since: Revision, signal: AbortSignal) {
    try {
      const { cluster, index: from, history } = await this.#keys.confirm(since, signal);
      const watched = { key, recursive, cluster, index: from };
      for await (const { events, index } of watchKeys(this.#keys, watched, signal)) {
        yield { events, revision: formatRevision(history, index), history };
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  #change(event: Event2, watchedKey: string | undefined, history: string): readonly Change[] {
    const { node } = event;
    const directory = `${this.#keys.leasesKey}/`;
    if (watchedKey !== undefined) {
      // Also when a directory above it was removed.
      return isRemoval(event)
        ? [{ kind: "remove", key: watchedKey }]
        : [{ kind: "put", entry: this.#entry(node, history) }];
    }
    if (isRemoval(event) && directory.startsWith(`${node.key}/`)) {
      const text = `cannot go on watching ${this.#keys.leasesKey} in etcd: ${node.key} was removed with all in it; read it again`;
      throw new StoreError("compacted", this.#http.description, text);
    }
    const key = node.key.slice(directory.length);
    // Only what lies in the directory itself is a lease.
    if (!node.key.startsWith(directory) || key.includes("/")) return [];
    if (isRemoval(event)) return [{ kind: "remove", key }];
    return node.dir ? [] : [{ kind: "put", entry: this.#entry(node, history) }];
  }

  #read(key: string, signal: AbortSignal): Promise<Known2> {
    return this.#keys.ask({ verb: "read", key: this.#keys.leaseKey(key) }, signal);
  }

  /**
   * Writes on condition that the node is still what `entry` is of; undefined when it is not. A `write` of undefined leaves it
   * as it is.
   */
  async #swap(
    verb: string,
    entry: RegistryEntry,
    write: (
      current: RegistryEntry,
    ) => Promise<{ readonly method: "PUT"; readonly form?: Readonly<Record<string, string>> } | undefined>,
    signal: AbortSignal,
  ): Promise<RegistryEntry | undefined> {
    const key = this.#keys.leaseKey(entry.key);
    for (let tries = 0; tries < SWAP_TRIES; tries++) {
      const known = await this.#read(entry.key, signal);
      if (known.kind === "not done") return undefined;
      const { node } = known.event;
      const current = this.#entry(node, known.history);
      if (node.dir || current.revision !== entry.revision) return undefined;
      const question = await write(current);
      if (!question) return current;
      const query = { prevIndex: String(node.modifiedIndex) };
      const written = await this.#keys.ask({ verb, key, query, ...question }, signal);
      if (written.kind === "done") return this.#entry(written.event.node, written.history);
      if (written.code === ERROR2.keyNotFound) return undefined;
      if (written.code !== ERROR2.compareFailed) throw this.#unexpected(verb, key, written.code);
    }
    return undefined;
  }

  /** Whether every member knows refresh=true, which came with etcd 2.3. */
  async #canRefresh(signal: AbortSignal): Promise<boolean> {
    const { status, text } = await this.#http.ask({ method: "GET", path: "/version" }, signal);
    const version = status === 200 ? /"etcdcluster":\s*"(\d+)\.(\d+)/.exec(text) : undefined;
    const [, major = 0, minor = 0] = version?.map(Number) ?? [];
    return major > 2 || (major === 2 && minor >= 3);
  }

  #entry(node: Node2, history: string): RegistryEntry {
    const { value = "" } = node;
    const reserved = node.expiration === undefined;
    return {
      key: node.key.slice(this.#keys.leasesKey.length + 1),
      value,
      reserved,
      // The seconds left, not the date: the server's clock may be another one. Left out when none is left.
      expiresAt: reserved ? undefined : this.#now() + (node.ttl ?? 0) * 1000,
      revision: `${formatRevision(history, node.createdIndex)}:${Bun.hash(value).toString(36)}` as Revision,
    };
  }

  #unexpected(verb: string, key: string, code: number): StoreError {
    return new StoreError(
      "invalid",
      this.#http.description,
      `cannot ${verb} ${key} in etcd: it answered error ${code}`,
    );
  }
}

function isRemoval({ action }: Event2): boolean {
  return action === "delete" || action === "compareAndDelete" || action === "expire";
}

function revisionOf({ history, position }: Known2): Revision {
  return formatRevision(history, position.index);
}

/** etcd counts whole seconds. */
function ttlForm(ttlMs: number | undefined): Readonly<Record<string, string>> {
  return ttlMs === undefined ? {} : { ttl: String(Math.max(1, Math.ceil(ttlMs / 1000))) };
}
