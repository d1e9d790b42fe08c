// A registry is what the subnet manager needs of a store, and no more: a config text, leases by key,
// compare-and-swap, a life time per lease, and a watch. The embedded store, etcd v3 and etcd v2 all have exactly
// this, so how subnets are chosen and kept is written once (registry_manager.ts).
//
// Silence is not emptiness: a read that fails throws StoreError; it never yields fewer entries than there are.

/** A point in a store's history, to watch from; opaque, only meaningful to the registry that gave it. */
export type Revision = string & { readonly __brand: "Revision" };

export interface RegistryEntry {
  /** As formatLeaseKey spells it; whatever somebody put there otherwise. */
  readonly key: string;
  /** JSON text, unchecked. */
  readonly value: string;
  /** An operator's entry without TTL: it never ends, and nobody gives it an end. */
  readonly reserved: boolean;
  /**
   * Milliseconds since the epoch by the store's clock; undefined for a reservation, and where the store tells it only by a
   * request for each lease (etcd v3): see `expiry`.
   */
  readonly expiresAt: number | undefined;
  /** Changes with every change of the value, and not when a lease is renewed. */
  readonly revision: Revision;
}

export interface Snapshot {
  /** In order of creation: of two rivals, every node sees the same one first. */
  readonly entries: readonly RegistryEntry[];
  readonly revision: Revision;
  /**
   * Which life of the store this was read from: another one after the store lost, restored or replaced its data (another
   * cluster id; a revision that went back). What is missing from another life was not removed by anybody.
   */
  readonly history: string;
}

export type Change =
  | { readonly kind: "put"; readonly entry: RegistryEntry }
  /** Removed or expired; may come twice. */
  | { readonly kind: "remove"; readonly key: string };

/** What one message of a watch told; `revision` is where to go on from when the watch breaks. */
export interface Batch {
  readonly changes: readonly Change[];
  readonly revision: Revision;
}

export interface StoredConfig {
  /** undefined when the store has none. */
  readonly text: string | undefined;
  readonly revision: Revision;
}

export type RegistryKind = "embedded" | "etcd3" | "etcd2";

/** An entry with what a store knows of it beside key and value. */
export interface ShownEntry extends RegistryEntry {
  /** The Kubernetes Node whose lease it is. */
  readonly node?: string;
  /** Why flanneld makes nothing of it. */
  readonly fault?: string | undefined;
}

/** What a tool needs to show leases: every registry has it, and so has Kubernetes, which is none. */
export interface LeaseSource extends Pick<Registry, "description" | "config" | "expiry">, Disposable {
  entries(signal: AbortSignal): Promise<{ readonly entries: readonly ShownEntry[] }>;
}

/** Every method rejects with the signal's reason when it aborts, and with StoreError when the store cannot answer. */
export interface Registry extends Disposable {
  /** For status.json and for programs. */
  readonly kind: RegistryKind;
  /** Where the configuration is, for messages: "/coreos.com/network/config"; undefined where no name says it. */
  readonly configKey: string | undefined;
  /** For messages: "embedded store /var/lib/flannel/store.db", "etcd v3 at https://192.0.2.1:2379". */
  readonly description: string;

  config(signal: AbortSignal): Promise<StoredConfig>;
  /** For tools: flanneld itself never writes the configuration. */
  setConfig(text: string, signal: AbortSignal): Promise<void>;
  /** Yields the configuration after each change since `since`. Ends and fails as `watch` does. */
  watchConfig(since: Revision, signal: AbortSignal): AsyncIterable<StoredConfig>;

  entries(signal: AbortSignal): Promise<Snapshot>;
  entry(key: string, signal: AbortSignal): Promise<{ entry: RegistryEntry | undefined; revision: Revision }>;
  /** Entries that were created after `since` and still are, in order of creation; not what was only changed since. */
  createdSince(since: Revision, signal: AbortSignal): Promise<readonly RegistryEntry[]>;
  /** When an entry ends, asked of the store where reading it did not tell. For tools; undefined for a reservation or one that is gone. */
  expiry(entry: RegistryEntry, signal: AbortSignal): Promise<number | undefined>;
  /** `ttlMs` undefined makes a reservation. */
  create(key: string, value: string, ttlMs: number | undefined, signal: AbortSignal): Promise<RegistryEntry | "exists">;
  /** Compare-and-swap: writes only if nobody changed or removed `entry` since it was read. */
  replace(
    entry: RegistryEntry,
    value: string,
    ttlMs: number | undefined,
    signal: AbortSignal,
  ): Promise<RegistryEntry | "conflict">;
  /**
   * Gives the entry `ttlMs` more from now on, unless it expired or changed. Wakes no watcher; never gives a
   * reservation a TTL.
   */
  renew(entry: RegistryEntry, ttlMs: number, signal: AbortSignal): Promise<RegistryEntry | "lost">;
  /** Compare-and-swap as well. */
  remove(entry: RegistryEntry, signal: AbortSignal): Promise<"removed" | "conflict">;
  /**
   * What changed since `since`, of all leases or of one key, in batches; a burst may come as one batch, and only the last
   * state of a key is promised. The first batch comes as soon as the watch stands, without changes when there are none;
   * later ones may be without changes too. Ends when `signal` aborts. Throws StoreError "unreachable" when it breaks: go on
   * from the last batch's revision. Throws "compacted" when the store no longer knows that far back, or is no longer the
   * store that the revision is of: read again with `entries`.
   */
  watch(since: Revision, signal: AbortSignal, key?: string): AsyncIterable<Batch>;
}
