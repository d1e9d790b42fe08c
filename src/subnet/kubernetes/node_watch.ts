// The nodes of the cluster as flannel keeps them, true from one list and what is watched after it. A watch that ends goes on from where it was (bookmarks move
// that place on while nothing happens); only when the server no longer knows it is the whole listed again, not older than what was seen. The list has whole Nodes,
// the watch their metadata: what more is needed of a Node is read by itself.

import { isJsonObject } from "../../config/json_fields.ts";
import { pause } from "../pause.ts";
import { StoreError } from "../store_error.ts";
import type { StoreRetry } from "../store_retry.ts";
import type { KubeApi, WatchEvent } from "./api.ts";
import { type KubeNode, type NodeReader, sameForFlannel } from "./node.ts";
import { covers, isMetadataOnly, lacksSubnets, withMetadata, withRead } from "./node_metadata.ts";
import { NodeReads } from "./node_reads.ts";
import { isOlder } from "./resource_version.ts";

/** As the server's cache has them: no question to etcd. */
const FROM_CACHE = "0";
/** Seconds; as client-go: between the first and twice it, so that thousands of nodes do not come back at once. */
const WATCH_SECONDS = 300;
/** A watch that ends sooner than this without a word is not asked for again at once. */
const SHORT_MS = 500;
/** A server that was set up anew from a backup knows no version as late as ours, and would never. */
const TOO_LARGE_TRIES = 5;

/** For the answer to a writing of the own Node; one that is tried again and again must hide nothing. */
const WRITING_MS = 1_000;

const ACTIVITY = "watching nodes";

/** What is asked of the API server. */
export type NodesApi = Pick<KubeApi, "server" | "node" | "listNodes" | "watchNodes">;

export interface NodeWatchOptions {
  readonly api: NodesApi;
  readonly reader: NodeReader;
  /** The Node whose condition is of interest, so that it is always known whole. */
  readonly own: string;
  readonly retry: StoreRetry;
  /** In [0, 1). */
  readonly random: () => number;
  readonly watchSeconds?: number | undefined;
  /** The own Node as it was last read or written. No list may be older, and of what it has in it nobody need ask. */
  readonly latest: () => KubeNode | undefined;
  /** Resolves when what this node is just writing of it is among that: the watch may tell of it before the answer comes. */
  readonly written: () => Promise<void>;
}

export class NodeWatch {
  readonly #options: NodeWatchOptions;
  readonly #subscriptions = new Set<Subscription>();
  /** Nodes to be read, each as the event had it that asks for it. */
  readonly #wanted = new Map<string, KubeNode>();
  #nodes = new Map<string, KubeNode>();
  #complete = false;
  #version: string | undefined;
  #tooLarge = 0;
  #epoch = 0;
  /** `latest` when the epoch began: its version is of the one before. */
  #former: KubeNode | undefined;

  constructor(options: NodeWatchOptions) {
    this.#options = options;
  }

  /** By name; whole once `complete`. */
  get nodes(): ReadonlyMap<string, KubeNode> {
    return this.#nodes;
  }

  /** Another number when versions have begun again: those of before are not to be compared. */
  get epoch(): number {
    return this.#epoch;
  }

  get complete(): boolean {
    return this.#complete;
  }

  /** Told of every change from now on, and first of all there is. */
  subscribe(): Subscription {
    const subscription = new Subscription(() => this.#subscriptions.delete(subscription));
    this.#subscriptions.add(subscription);
    if (this.#complete) subscription.tell(this.#nodes.keys());
    return subscription;
  }

  /** Lists and watches until `signal` aborts. Throws what is no failure of the server. */
  async run(signal: AbortSignal): Promise<void> {
    const reads = new NodeReads((name) => this.#read(name, signal));
    await Promise.race([this.#run(reads, signal), reads.failed]);
  }

  async #run(reads: NodeReads, signal: AbortSignal): Promise<void> {
    const { retry } = this.#options;
    let listed = false;
    while (!signal.aborted) {
      const begun = performance.now();
      let heard = false;
      try {
        if (!listed) await this.#list(signal);
        listed = true;
        for await (const events of this.#watch(signal)) {
          heard = true;
          this.#tooLarge = 0;
          retry.succeeded(ACTIVITY);
          this.#take(events, reads);
        }
        if (!heard && performance.now() - begun < SHORT_MS) await pause(SHORT_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof StoreError && error.reason === "compacted") listed = false;
        if (error instanceof StoreError && /too large resource version/i.test(error.message)) this.#tooLarge++;
        if (this.#tooLarge >= TOO_LARGE_TRIES) listed = false;
        await retry.failed(ACTIVITY, error, signal).catch((failure: unknown) => {
          if (!signal.aborted) throw failure;
        });
      }
    }
  }

  #watch(signal: AbortSignal): AsyncIterable<readonly WatchEvent[]> {
    const { api, own, random, watchSeconds = WATCH_SECONDS } = this.#options;
    return api.watchNodes(this.#version ?? FROM_CACHE, own, Math.ceil(watchSeconds * (1 + random())), signal);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { api, own, reader, retry, latest } = this.#options;
    const nodes = new Map<string, KubeNode>();
    const take = (value: unknown) => {
      const node = reader.read(value);
      if (node) nodes.set(node.name, node);
    };
    const known = this.#version ?? latest()?.resourceVersion ?? FROM_CACHE;
    const anew = this.#tooLarge >= TOO_LARGE_TRIES;
    this.#version = await api.listNodes(anew ? FROM_CACHE : known, own, take, signal);
    if (anew) {
      this.#epoch++;
      this.#former = latest();
    }
    this.#tooLarge = 0;
    retry.succeeded(ACTIVITY);
    const changed = new Set<string>();
    for (const [name, node] of nodes) if (!isSame(this.#nodes.get(name), node)) changed.add(name);
    for (const name of this.#nodes.keys()) if (!nodes.has(name)) changed.add(name);
    this.#nodes = nodes;
    this.#wanted.clear();
    this.#complete = true;
    this.#tell(changed);
  }

  #take(events: readonly WatchEvent[], reads: NodeReads): void {
    const changed = new Set<string>();
    for (const { type, object } of events) {
      if (type === "ERROR") {
        if (changed.size > 0) this.#tell(changed);
        throw this.#failure(object);
      }
      const version = versionOf(object);
      if (type !== "BOOKMARK") this.#takeNode(type, object, changed, reads);
      if (version !== undefined) this.#version = version;
    }
    // Most batches are heartbeats, and wake nobody.
    if (changed.size > 0) this.#tell(changed);
  }

  #takeNode(type: string, object: unknown, changed: Set<string>, reads: NodeReads): void {
    const { reader, own } = this.#options;
    const node = reader.read(object);
    if (!node) return;
    const { name, resourceVersion } = node;
    const held = this.#nodes.get(name);
    // What was read by itself may be ahead of the watch.
    if (held && isOlder(resourceVersion, held.resourceVersion)) return;
    this.#wanted.delete(name);
    if (type === "DELETED") {
      if (this.#nodes.delete(name)) changed.add(name);
      return;
    }
    const partial = isMetadataOnly(object);
    const known = !partial ? node : name === own ? this.#knownOwn(node) : withMetadata(held, node);
    if (known) this.#put(known, changed);
    if (known && !(partial && name !== own && lacksSubnets(known))) return;
    this.#wanted.set(name, node);
    reads.want(name);
  }

  /** The own Node whole, where it is known as it was when `event` was told, or later. */
  #knownOwn(event: KubeNode): KubeNode | undefined {
    const latest = this.#options.latest();
    const candidates = [this.#nodes.get(event.name), latest === this.#former ? undefined : latest];
    return candidates.find((known) => covers(known, event));
  }

  #put(node: KubeNode, changed: Set<string>): void {
    if (!isSame(this.#nodes.get(node.name), node)) changed.add(node.name);
    this.#nodes.set(node.name, node);
  }

  async #read(name: string, signal: AbortSignal): Promise<void> {
    const { own, written } = this.#options;
    if (name === own) await Promise.race([written(), pause(WRITING_MS, signal).catch(() => {})]);
    const asking = this.#wanted.get(name);
    if (signal.aborted || !asking) return;
    const read = (name === own && this.#knownOwn(asking)) || (await this.#get(name, signal));
    const event = this.#wanted.get(name);
    // Meanwhile it went, or is no longer flannel's, or all were listed; or it is gone, which the watch will tell.
    if (!event || !read) return;
    const node = withRead(this.#nodes.get(name), read);
    const changed = new Set<string>();
    if (node) this.#put(node, changed);
    // Otherwise a newer event has asked for it again.
    if (node && !(name === own && isOlder(read.resourceVersion, event.resourceVersion))) this.#wanted.delete(name);
    if (changed.size > 0) this.#tell(changed);
  }

  /** The Node as it is now, for as long as it takes; undefined when there is none. */
  async #get(name: string, signal: AbortSignal): Promise<KubeNode | undefined> {
    const { api, reader, retry } = this.#options;
    const get = async () => {
      try {
        return reader.read(await api.node(name, signal));
      } catch (error) {
        if (error instanceof StoreError && error.reason === "absent") return undefined;
        throw error;
      }
    };
    return await retry.persist(`reading node ${name}`, [], get, signal).catch((failure: unknown) => {
      if (!signal.aborted) throw failure;
      return undefined;
    });
  }

  #failure(status: unknown): StoreError {
    const { code, message } = isJsonObject(status) ? status : {};
    const reason = code === 410 ? "compacted" : "unreachable";
    const { server } = this.#options.api;
    return new StoreError(
      reason,
      server,
      `the API server at ${server} ended the watch: ${message ?? "no reason given"}`,
    );
  }

  #tell(names: ReadonlySet<string>): void {
    for (const subscription of this.#subscriptions) subscription.tell(names);
  }
}

/** Names of nodes that changed since they were last taken; many changes of one node are one. */
export class Subscription implements Disposable {
  readonly #end: () => void;
  #names = new Set<string>();
  #told = false;
  #wake = Promise.withResolvers<void>();

  constructor(end: () => void) {
    this.#end = end;
  }

  tell(names: Iterable<string>): void {
    for (const name of names) this.#names.add(name);
    this.#told = true;
    this.#wake.resolve();
  }

  /** Resolves with the names once there is news, which the first complete list is even without nodes; with none when `signal` aborts. */
  async next(signal: AbortSignal): Promise<ReadonlySet<string>> {
    const stop = () => this.#wake.resolve();
    signal.addEventListener("abort", stop, { once: true });
    try {
      if (!this.#told && !signal.aborted) await this.#wake.promise;
    } finally {
      signal.removeEventListener("abort", stop);
    }
    const names = this.#names;
    this.#names = new Set();
    this.#told = false;
    this.#wake = Promise.withResolvers();
    return names;
  }

  [Symbol.dispose](): void {
    this.#end();
  }
}

function isSame(before: KubeNode | undefined, now: KubeNode): boolean {
  return before !== undefined && sameForFlannel(before, now);
}

function versionOf(object: unknown): string | undefined {
  const metadata = isJsonObject(object) && isJsonObject(object.metadata) ? object.metadata : {};
  return typeof metadata.resourceVersion === "string" ? metadata.resourceVersion : undefined;
}
