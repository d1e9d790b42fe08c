// The registry in etcd v3, with the keys and values of upstream's daemon: `<prefix>/config`, `<prefix>/subnets/<lease key>`, the
// TTL of a lease by an etcd lease of the key's own, a reservation by none. Reading costs one request however many leases there
// are; nobody asks for the TTL of another node's lease, since the watch tells when it ends.
//
// upstream: grants a new etcd lease with each renewal and writes the key again, which every node hears; here a renewal keeps
// the key's etcd lease alive. Only when that was granted for a shorter time than wanted (another --subnet-lease-ttl, another
// program) is the key written again with a new one; a longer one is left as it is.

import { posix } from "node:path";
import type { Batch, Registry, RegistryEntry, Revision, Snapshot, StoredConfig } from "../registry.ts";
import { StoreError } from "../store_error.ts";
import { entryOf, formatPoint, History, type Point, parsePoint } from "./history3.ts";
import { type Granted, Leases3, secondsOf } from "./leases3.ts";
import type { EtcdOptions } from "./options.ts";
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  Event_EventType,
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
} from "./rpc.gen.ts";
import { RpcClient } from "./rpc_client.ts";
import { isLeaseMissing, type Operation } from "./rpc_error.ts";
import { watchEvents } from "./watch3.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The byte after "/": the end of a range of all keys below a directory. */
const AFTER_SLASH = "0";

export class Etcd3Registry implements Registry {
  readonly kind = "etcd3";
  readonly #client: RpcClient;
  readonly #leases: Leases3;
  readonly #history = new History();
  readonly configKey: string;
  /** With its slash. */
  readonly #directory: string;
  readonly #clock: () => number;

  constructor(options: EtcdOptions, clock: () => number = Date.now) {
    this.#client = new RpcClient(options);
    this.#leases = new Leases3(this.#client);
    this.configKey = posix.join(options.prefix, "config");
    this.#directory = `${posix.join(options.prefix, "subnets")}/`;
    this.#clock = clock;
  }

  get description(): string {
    return `etcd v3 at ${this.#client.description}`;
  }

  async config(signal: AbortSignal): Promise<StoredConfig> {
    const { kvs, revision } = await this.#range({ key: this.configKey }, signal);
    const history = this.#history.born(kvs[0]?.createRevision);
    return { text: kvs[0] && decoder.decode(kvs[0].value), revision: formatPoint({ history, revision, lease: 0n }) };
  }

  async setConfig(text: string, signal: AbortSignal): Promise<void> {
    const request = { key: encoder.encode(this.configKey), value: encoder.encode(text) };
    await this.#client.call(
      this.#writing(this.configKey),
      false,
      ({ kv }, options) => kv.put(request, options),
      signal,
    );
  }

  async *watchConfig(since: Revision, signal: AbortSignal): AsyncGenerator<StoredConfig, void, undefined> {
    const watched = { key: encoder.encode(this.configKey), rangeEnd: new Uint8Array(), object: this.configKey };
    for await (const { events, point } of watchEvents(this.#client, this.#history, watched, since, signal)) {
      const last = events.at(-1);
      if (!last) continue;
      const text = last.type === Event_EventType.Delete ? undefined : decoder.decode(last.kv?.value);
      yield { text, revision: formatPoint(point) };
    }
  }

  async entries(signal: AbortSignal): Promise<Snapshot> {
    const leases = rangeOf({ key: this.#directory, below: true });
    const birth = rangeOf({ key: this.configKey, keysOnly: true });
    const success = [leases, birth].map((value) => ({ request: { case: "requestRange" as const, value } }));
    const mark = this.#history.mark();
    const { header, responses } = await this.#client.call(
      this.#reading(this.#directory),
      true,
      ({ kv }, options) => kv.txn({ success }, options),
      signal,
    );
    this.#history.read(header, mark);
    const [kvs = [], config = []] = responses.map(({ response }) =>
      response.case === "responseRange" ? response.value.kvs : [],
    );
    const history = this.#history.born(config[0]?.createRevision);
    const revision = header?.revision ?? 0n;
    return {
      entries: kvs.map((kv) => entryOf(kv, history, this.#directory)),
      revision: formatPoint({ history, revision, lease: 0n }),
      history,
    };
  }

  async entry(key: string, signal: AbortSignal): Promise<{ entry: RegistryEntry | undefined; revision: Revision }> {
    const { kvs, history, revision } = await this.#range({ key: this.#directory + key }, signal);
    return {
      entry: kvs[0] && entryOf(kvs[0], history, this.#directory),
      revision: formatPoint({ history, revision, lease: 0n }),
    };
  }

  async createdSince(since: Revision, signal: AbortSignal): Promise<readonly RegistryEntry[]> {
    const from = parsePoint(since);
    const minCreateRevision = (from?.revision ?? 0n) + 1n;
    const { kvs, history, header } = await this.#range(
      { key: this.#directory, below: true, minCreateRevision },
      signal,
    );
    if (!from || this.#history.departure(from, header)) {
      const message = `cannot read ${this.#directory} since revision ${since}: it is not of ${this.description}; read it again`;
      throw new StoreError("compacted", this.description, message);
    }
    return kvs.map((kv) => entryOf(kv, history, this.#directory));
  }

  async expiry(entry: RegistryEntry, signal: AbortSignal): Promise<number | undefined> {
    const lease = parsePoint(entry.revision)?.lease ?? 0n;
    const found = lease === 0n ? undefined : await this.#leases.look(lease, signal);
    return found && this.#clock() + found.leftSeconds * 1000;
  }

  async create(
    key: string,
    value: string,
    ttlMs: number | undefined,
    signal: AbortSignal,
  ): Promise<RegistryEntry | "exists"> {
    const unborn: Point = { history: "", revision: 0n, lease: 0n };
    return (await this.#putAnew(key, value, unborn, ttlMs, signal)) ?? "exists";
  }

  async replace(
    entry: RegistryEntry,
    value: string,
    ttlMs: number | undefined,
    signal: AbortSignal,
  ): Promise<RegistryEntry | "conflict"> {
    const at = parsePoint(entry.revision);
    if (!at) return "conflict";
    if (ttlMs !== undefined && at.lease !== 0n) {
      const found = await this.#leases.look(at.lease, signal);
      if (found?.grantedSeconds === secondsOf(ttlMs)) {
        const granted: Granted = { id: at.lease, ttlSeconds: found.grantedSeconds };
        const put = await this.#put(entry.key, value, at, granted, signal);
        if (put && (await this.#leases.keepAlive(at.lease, signal)) === undefined) return "conflict";
        return put ?? "conflict";
      }
    }
    const put = await this.#putAnew(entry.key, value, at, ttlMs, signal);
    if (!put) return "conflict";
    await this.#leases.drop(at.lease, signal);
    return put;
  }

  async renew(entry: RegistryEntry, ttlMs: number, signal: AbortSignal): Promise<RegistryEntry | "lost"> {
    const at = parsePoint(entry.revision);
    const { entry: found } = await this.entry(entry.key, signal);
    if (!at || found?.revision !== entry.revision) return "lost";
    if (found.reserved) return found;
    const grantedSeconds = await this.#leases.keepAlive(at.lease, signal);
    if (grantedSeconds === undefined) return "lost";
    if (grantedSeconds >= secondsOf(ttlMs)) return { ...found, expiresAt: this.#clock() + grantedSeconds * 1000 };
    const replaced = await this.replace(found, found.value, ttlMs, signal);
    return replaced === "conflict" ? "lost" : replaced;
  }

  async remove(entry: RegistryEntry, signal: AbortSignal): Promise<"removed" | "conflict"> {
    const at = parsePoint(entry.revision);
    if (!at) return "conflict";
    const key = encoder.encode(this.#directory + entry.key);
    const removed = await this.#swap(entry.key, at, { case: "requestDeleteRange", value: { key } }, signal);
    if (!removed) return "conflict";
    await this.#leases.drop(at.lease, signal);
    return "removed";
  }

  async *watch(since: Revision, signal: AbortSignal, key?: string): AsyncGenerator<Batch, void, undefined> {
    try {
      if (parsePoint(since)) await this.#lookAtBirth(signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    const first = this.#directory + (key ?? "");
    const watched = {
      key: encoder.encode(first),
      rangeEnd: key === undefined ? endOf(first) : new Uint8Array(),
      object: first,
    };
    for await (const { events, point } of watchEvents(this.#client, this.#history, watched, since, signal)) {
      const changes = events.flatMap(({ type, kv }) => {
        if (!kv) return [];
        const entry = entryOf(kv, point.history, this.#directory);
        return [
          type === Event_EventType.Delete
            ? ({ kind: "remove", key: entry.key } as const)
            : ({ kind: "put", entry } as const),
        ];
      });
      yield { changes, revision: formatPoint(point) };
    }
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }

  /** Asks when the configuration was created, which tells one life of the store from another. */
  async #lookAtBirth(signal: AbortSignal): Promise<void> {
    const { kvs } = await this.#range({ key: this.configKey, keysOnly: true }, signal);
    this.#history.born(kvs[0]?.createRevision);
  }

  /** One linearizable read. */
  async #range(what: Wanted, signal: AbortSignal) {
    const request = rangeOf(what);
    const operation = this.#reading(what.key);
    const mark = this.#history.mark();
    const { header, kvs } = await this.#client.call(
      operation,
      true,
      ({ kv }, options) => kv.range(request, options),
      signal,
    );
    return { header, kvs, history: this.#history.read(header, mark), revision: header?.revision ?? 0n };
  }

  /** Puts under a lease granted for it, which goes again when nothing was put. */
  async #putAnew(key: string, value: string, at: Point, ttlMs: number | undefined, signal: AbortSignal) {
    const granted = ttlMs === undefined ? undefined : await this.#leases.grant(ttlMs, signal);
    // Also when it is not known whether it was put: what is revoked is certainly gone, and can be created again.
    const withdraw = () => (granted ? this.#leases.withdraw(granted.id) : Promise.resolve());
    try {
      const put = await this.#put(key, value, at, granted, signal);
      if (!put) await withdraw();
      return put;
    } catch (error) {
      // Nobody who gave up, or cannot reach the store, waits for it.
      void withdraw();
      throw error;
    }
  }

  /** Puts if the key is as it was at `at`; undefined when it is not. */
  async #put(key: string, value: string, at: Point, granted: Granted | undefined, signal: AbortSignal) {
    const begun = this.#clock();
    const lease = granted?.id ?? 0n;
    const put = { key: encoder.encode(this.#directory + key), value: encoder.encode(value), lease };
    const swapped = await this.#swap(key, at, { case: "requestPut", value: put }, signal);
    if (!swapped) return undefined;
    const expiresAt = granted && begun + granted.ttlSeconds * 1000;
    return { key, value, reserved: !granted, expiresAt, revision: formatPoint({ ...swapped, lease }) };
  }

  /** Compare-and-swap by the revision that last changed the key, 0 for one that must not exist. */
  async #swap(key: string, at: Point, request: Write, signal: AbortSignal): Promise<Point | undefined> {
    const path = this.#directory + key;
    const compare = {
      key: encoder.encode(path),
      target: Compare_CompareTarget.Mod,
      result: Compare_CompareResult.Equal,
      targetUnion: { case: "modRevision" as const, value: at.revision },
    };
    const transaction = { compare: [compare], success: [{ request }] };
    const mark = this.#history.mark();
    try {
      const { header, succeeded } = await this.#client.call(
        this.#writing(path),
        false,
        ({ kv }, options) => kv.txn(transaction, options),
        signal,
      );
      const history = this.#history.read(header, mark);
      return succeeded ? { history, revision: header?.revision ?? 0n, lease: 0n } : undefined;
    } catch (error) {
      // The lease ended, and the key with it.
      if (error instanceof StoreError && isLeaseMissing(error.cause)) return undefined;
      throw error;
    }
  }

  #reading(key: string): Operation {
    return { action: `read ${key}`, needs: { permission: "read", prefix: key } };
  }

  #writing(path: string): Operation {
    return { action: `write ${path}`, needs: { permission: "readwrite", prefix: posix.dirname(this.configKey) } };
  }
}

type Write =
  | { case: "requestPut"; value: { key: Uint8Array; value: Uint8Array; lease: bigint } }
  | { case: "requestDeleteRange"; value: { key: Uint8Array } };

interface Wanted {
  readonly key: string;
  /** All keys below it. */
  readonly below?: boolean;
  readonly keysOnly?: boolean;
  readonly minCreateRevision?: bigint;
}

function rangeOf({ key, below = false, keysOnly = false, minCreateRevision = 0n }: Wanted) {
  const [sortOrder, sortTarget] = [RangeRequest_SortOrder.Ascend, RangeRequest_SortTarget.Create];
  return {
    key: encoder.encode(key),
    rangeEnd: below ? endOf(key) : new Uint8Array(),
    keysOnly,
    minCreateRevision,
    ...(below ? { sortOrder, sortTarget } : {}),
  };
}

/** The end of the range of all keys that begin with `directory`, which ends in a slash. */
function endOf(directory: string): Uint8Array {
  return encoder.encode(directory.slice(0, -1) + AFTER_SLASH);
}
