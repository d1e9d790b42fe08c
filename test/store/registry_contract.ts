// What every registry must do, run against each of them (embedded.test.ts, and etcd's). `open` gives a registry on an
// empty store; several opened in one test with the same `store` name are several clients of one store.

import { afterEach, describe, expect, test } from "bun:test";
import type { Batch, Change, Registry, RegistryEntry, Revision } from "../../src/subnet/registry.ts";

const VALUE = '{"PublicIP":"192.0.2.1"}';
const OTHER = '{"PublicIP":"192.0.2.2"}';

export function registryContract(
  name: string,
  open: (store: string) => Promise<Registry>,
  shortestTtlMs: number,
  /** Whether stores of different names are different stores, and not only different prefixes of one. */
  separateStores = true,
) {
  describe(name, () => {
    const cleanup: (() => void)[] = [];
    afterEach(() => {
      for (const undo of cleanup.splice(0).reverse()) undo();
    });
    let stores = 0;

    /** `count` clients of one new store, and a signal that ends with the test. */
    async function clients(count: number) {
      const controller = new AbortController();
      const store = `store${stores++}`;
      const registries: Registry[] = [];
      for (let i = 0; i < count; i++) registries.push(await open(store));
      cleanup.push(() => {
        controller.abort();
        for (const registry of registries) registry[Symbol.dispose]();
      });
      const [first, second = first] = registries;
      if (!first || !second) throw new Error("no registry");
      return { first, second, signal: controller.signal, controller };
    }

    async function created(registry: Registry, key: string, ttlMs: number | undefined, signal: AbortSignal) {
      const entry = await registry.create(key, VALUE, ttlMs, signal);
      if (entry === "exists") throw new Error(`${key} exists`);
      return entry;
    }

    test("config is nothing, then what was set, and each change is told", async () => {
      const { first, second, signal } = await clients(2);
      const before = await second.config(signal);
      expect(before.text).toBeUndefined();
      const watched = second.watchConfig(before.revision, signal)[Symbol.asyncIterator]();
      const next = watched.next();
      await first.setConfig('{"Network":"10.5.0.0/16"}', signal);
      expect((await next).value?.text).toBe('{"Network":"10.5.0.0/16"}');
      expect((await first.config(signal)).text).toBe('{"Network":"10.5.0.0/16"}');
    });

    test("create makes an entry once; entries come in order of creation", async () => {
      const { first, second, signal } = await clients(2);
      const keys = ["10.5.9.0-24", "10.5.1.0-24", "10.5.5.0-24&fd00:0:0:5::-64"];
      for (const key of keys) await created(first, key, 60_000, signal);
      expect(await second.create("10.5.1.0-24", OTHER, 60_000, signal)).toBe("exists");
      const { entries } = await second.entries(signal);
      expect(entries.map(({ key }) => key)).toEqual(keys);
      expect(entries[1]?.value).toBe(VALUE);
    });

    test("replace and remove are compare-and-swap", async () => {
      const { first, second, signal } = await clients(2);
      const entry = await created(first, "10.5.1.0-24", 60_000, signal);
      const replaced = await second.replace(entry, OTHER, 60_000, signal);
      expect(replaced).toMatchObject({ key: entry.key, value: OTHER });
      expect(await first.replace(entry, VALUE, 60_000, signal)).toBe("conflict");
      expect(await first.remove(entry, signal)).toBe("conflict");
      expect(await first.renew(entry, 60_000, signal)).toBe("lost");
      expect((await first.entry(entry.key, signal)).entry?.value).toBe(OTHER);
      expect(await first.remove(replaced as RegistryEntry, signal)).toBe("removed");
      expect((await second.entry(entry.key, signal)).entry).toBeUndefined();
    });

    test("watch tells puts and removals, and nothing of before", async () => {
      const { first, second, signal } = await clients(2);
      const old = await created(first, "10.5.1.0-24", 60_000, signal);
      const { revision } = await second.entries(signal);
      const seen = collect(second.watch(revision, signal));
      await created(first, "10.5.2.0-24", 60_000, signal);
      await seen.until((changes) => changes.length === 1);
      await first.remove(old, signal);
      await seen.until((changes) => changes.length === 2);
      expect(seen.changes.map(describeChange)).toEqual(["put 10.5.2.0-24", "remove 10.5.1.0-24"]);
    });

    test("a watch says at once that it stands, and another goes on from any batch's revision", async () => {
      const { first, second, signal } = await clients(2);
      const { revision } = await second.entries(signal);
      const watched = second.watch(revision, signal)[Symbol.asyncIterator]();
      expect((await watched.next()).value?.changes).toEqual([]);
      await created(first, "10.5.1.0-24", 60_000, signal);
      let batch: Batch | undefined;
      while (!batch?.changes.length) batch = (await watched.next()).value ?? undefined;
      await watched.return?.();
      await created(first, "10.5.2.0-24", 60_000, signal);
      const seen = collect(second.watch(batch.revision, signal));
      await seen.until((changes) => changes.length > 0);
      expect(seen.changes.map(describeChange)).toEqual(["put 10.5.2.0-24"]);
    });

    test("createdSince tells what was created and still is, not what was changed", async () => {
      const { first, second, signal } = await clients(2);
      const old = await created(first, "10.5.1.0-24", 60_000, signal);
      const { revision } = await second.entries(signal);
      await first.replace(old, OTHER, 60_000, signal);
      const gone = await created(first, "10.5.9.0-24", 60_000, signal);
      await created(first, "10.5.3.0-24", 60_000, signal);
      await created(first, "10.5.2.0-24", undefined, signal);
      await first.remove(gone, signal);
      const since = await second.createdSince(revision, signal);
      expect(since.map(({ key, reserved }) => [key, reserved])).toEqual([
        ["10.5.3.0-24", false],
        ["10.5.2.0-24", true],
      ]);
    });

    test("every client of one store reads the same history, and of another store another", async () => {
      const { first, second, signal } = await clients(2);
      const other = await clients(1);
      const { history } = await first.entries(signal);
      expect((await second.entries(signal)).history).toBe(history);
      if (separateStores) expect((await other.first.entries(other.signal)).history).not.toBe(history);
    });

    test("watch of one key tells that key alone", async () => {
      const { first, second, signal } = await clients(2);
      const { revision } = await second.entries(signal);
      const seen = collect(second.watch(revision, signal, "10.5.2.0-24"));
      await created(first, "10.5.1.0-24", 60_000, signal);
      await created(first, "10.5.2.0-24", 60_000, signal);
      await seen.until((changes) => changes.length > 0);
      expect(seen.changes.map(describeChange)).toEqual(["put 10.5.2.0-24"]);
    });

    test("watch begins where it is told to, not when it is called", async () => {
      const { first, second, signal } = await clients(2);
      const { revision } = await second.entries(signal);
      const entry = await created(first, "10.5.1.0-24", 60_000, signal);
      await first.remove(entry, signal);
      await created(first, "10.5.2.0-24", 60_000, signal);
      const seen = collect(second.watch(revision, signal));
      await seen.until((changes) => changes.some((change) => describeChange(change) === "put 10.5.2.0-24"));
      expect(seen.changes.map(describeChange).slice(-2)).toEqual(["remove 10.5.1.0-24", "put 10.5.2.0-24"]);
    });

    test("a lease expires for readers, writers and watchers; a reservation does not", async () => {
      const { first, second, signal } = await clients(2);
      const reserved = await created(first, "10.5.9.0-24", undefined, signal);
      const leased = await created(first, "10.5.1.0-24", shortestTtlMs, signal);
      const { revision } = await second.entries(signal);
      const seen = collect(second.watch(revision, signal));
      await seen.until((changes) => changes.length > 0);
      expect(seen.changes.map(describeChange)).toEqual(["remove 10.5.1.0-24"]);
      expect((await second.entries(signal)).entries.map(({ key }) => key)).toEqual([reserved.key]);
      expect(await first.renew(leased, 60_000, signal)).toBe("lost");
      expect(await first.replace(leased, OTHER, 60_000, signal)).toBe("conflict");
      expect(reserved).toMatchObject({ reserved: true, expiresAt: undefined });
      await created(second, "10.5.1.0-24", 60_000, signal);
    });

    test("renewing keeps a lease, wakes no watcher, and gives a reservation no end", async () => {
      const { first, second, signal } = await clients(2);
      const reserved = await created(first, "10.5.9.0-24", undefined, signal);
      const leased = await created(first, "10.5.1.0-24", shortestTtlMs, signal);
      const { revision } = await second.entries(signal);
      const seen = collect(second.watch(revision, signal));
      await Bun.sleep(shortestTtlMs * 0.7);
      // For the same time again: an etcd lease cannot be made a longer one without telling everybody.
      const renewed = await first.renew(leased, shortestTtlMs, signal);
      expect(renewed).toMatchObject({ key: leased.key, value: VALUE, revision: leased.revision });
      expect(await first.renew(reserved, shortestTtlMs, signal)).toMatchObject({ reserved: true });
      expect(await second.expiry(reserved, signal)).toBeUndefined();
      expect((await second.expiry(leased, signal)) ?? 0).toBeGreaterThan(0);
      await Bun.sleep(shortestTtlMs * 0.7);
      expect((await second.entries(signal)).entries).toHaveLength(2);
      expect(seen.changes).toEqual([]);
    });

    test("a reservation becomes a lease and a lease a reservation by replace", async () => {
      const { first, signal } = await clients(1);
      const reserved = await created(first, "10.5.9.0-24", undefined, signal);
      const leased = await first.replace(reserved, VALUE, shortestTtlMs, signal);
      expect(leased).toMatchObject({ reserved: false });
      const again = await first.replace(leased as RegistryEntry, VALUE, undefined, signal);
      expect(again).toMatchObject({ reserved: true, expiresAt: undefined });
    });

    test("an abort ends a watch and rejects calls with its reason", async () => {
      const { first, signal, controller } = await clients(1);
      const { revision } = await first.entries(signal);
      const watched = first.watch(revision, signal)[Symbol.asyncIterator]();
      await watched.next();
      const next = watched.next();
      controller.abort(new Error("enough"));
      expect((await next).done).toBe(true);
      await expect(first.entries(signal)).rejects.toThrow("enough");
      await expect(first.create("10.5.1.0-24", VALUE, undefined, signal)).rejects.toThrow("enough");
    });

    test("a revision of nowhere is compacted", async () => {
      const { first, signal } = await clients(1);
      const watched = first.watch("elsewhere:1" as Revision, signal)[Symbol.asyncIterator]();
      await expect(watched.next()).rejects.toMatchObject({ name: "StoreError", reason: "compacted" });
    });
  });
}

export function describeChange(change: Change): string {
  return `${change.kind} ${change.kind === "put" ? change.entry.key : change.key}`;
}

/** Gathers a watch's changes in the background; counts the batches that have any. */
export function collect(batches: AsyncIterable<Batch>) {
  const changes: Change[] = [];
  let count = 0;
  let wake = () => {};
  const done = (async () => {
    for await (const batch of batches) {
      changes.push(...batch.changes);
      if (batch.changes.length > 0) count++;
      wake();
    }
  })();
  done.catch(() => {});
  return {
    changes,
    get batches() {
      return count;
    },
    done,
    /** Resolves once `enough` holds; fails with the watch when that fails. */
    async until(enough: (changes: readonly Change[]) => boolean): Promise<void> {
      while (!enough(changes)) {
        const more = new Promise<void>((resolve) => {
          wake = resolve;
        });
        await Promise.race([more, done]);
      }
    },
  };
}
