// Watches of the v2 API through what happens to a cluster: a history that is cleared, bursts, members that end, freeze or lose
// touch with the others, and data that is lost.

import { describe, expect, test } from "bun:test";
import { Etcd2Registry } from "../../src/subnet/etcd/registry2.ts";
import type { Revision } from "../../src/subnet/registry.ts";
import { collect, describeChange } from "../store/registry_contract.ts";
import { EtcdCluster, EtcdMember } from "./cluster.ts";
import { etcdOptions } from "./options.ts";
import { slowProxy } from "./slow_proxy.ts";

const VALUE = '{"PublicIP":"192.0.2.1"}';
const DAY_MS = 86_400_000;
/** Quick to notice, for tests. */
const TIMING = { connectMs: 500, requestMs: 1_500, pingMs: 200, pongMs: 300 };
const LIMIT_MS = 30_000;

function open(cluster: { readonly endpoints: readonly string[] }) {
  const stop = new AbortController();
  const registry = new Etcd2Registry(etcdOptions(cluster.endpoints, { timing: TIMING }));
  return {
    registry,
    signal: stop.signal,
    create: (key: string) => registry.create(key, VALUE, DAY_MS, stop.signal),
    /** A watch that stands. */
    async watch(since: Revision, key?: string) {
      let revision = since;
      const stands = Promise.withResolvers<void>();
      async function* noted() {
        for await (const batch of registry.watch(since, stop.signal, key)) {
          ({ revision } = batch);
          stands.resolve();
          yield batch;
        }
      }
      const { changes, done, until } = collect(noted());
      await Promise.race([stands.promise, done]);
      return { changes, done, until, revision: () => revision };
    },
    [Symbol.dispose]() {
      stop.abort();
      registry[Symbol.dispose]();
    },
  };
}

/** Calls until it succeeds: a cluster takes a while to choose a leader. */
async function eventually<T>(call: () => Promise<T>): Promise<T> {
  for (const end = performance.now() + LIMIT_MS; ; ) {
    try {
      return await call();
    } catch (error) {
      if (performance.now() > end) throw error;
      await Bun.sleep(50);
    }
  }
}

/** `count` changes that no flannel cares for. */
async function writeElsewhere({ url }: EtcdMember, count: number): Promise<void> {
  const write = async (_: unknown, worker: number) => {
    for (let i = worker; i < count; i += 8) {
      const response = await fetch(`${url}/v2/keys/elsewhere/${worker}`, {
        method: "PUT",
        body: new URLSearchParams({ value: `${i}` }),
      });
      await response.text();
    }
  };
  await Promise.all(Array.from({ length: 8 }, write));
}

describe("one member", () => {
  test(
    "a watch outlives a cleared history, and who comes later than it reaches back reads again",
    async () => {
      await using cluster = await EtcdCluster.start({ enableV2: true });
      using client = open(cluster);
      const { revision } = await client.registry.entries(client.signal);
      const seen = await client.watch(revision);
      await writeElsewhere(cluster.member(1), 1_100);
      await client.create("10.5.1.0-24");
      await seen.until((changes) => changes.length > 0);
      expect(seen.changes.map(describeChange)).toEqual(["put 10.5.1.0-24"]);
      const late = client.registry.watch(revision, client.signal)[Symbol.asyncIterator]();
      await expect(late.next()).rejects.toMatchObject({ name: "StoreError", reason: "compacted" });
    },
    LIMIT_MS,
  );

  test(
    "what happened between reading and watching comes in order, between changes of others",
    async () => {
      await using cluster = await EtcdCluster.start({ enableV2: true });
      using client = open(cluster);
      const { revision } = await client.registry.entries(client.signal);
      const [first] = [await client.create("10.5.1.0-24")];
      await writeElsewhere(cluster.member(1), 20);
      await client.create("10.5.2.0-24");
      if (first !== "exists") await client.registry.remove(first, client.signal);
      await writeElsewhere(cluster.member(1), 20);
      const seen = await client.watch(revision);
      await seen.until((changes) => changes.length >= 3);
      await client.create("10.5.3.0-24");
      await writeElsewhere(cluster.member(1), 5);
      await client.create("10.5.4.0-24");
      await seen.until((changes) => changes.length >= 5);
      expect(seen.changes.map(describeChange)).toEqual([
        ...["put 10.5.1.0-24", "put 10.5.2.0-24", "remove 10.5.1.0-24"],
        ...["put 10.5.3.0-24", "put 10.5.4.0-24"],
      ]);
    },
    LIMIT_MS,
  );

  test(
    "what happened before comes first, though it is asked for later than what comes by itself",
    async () => {
      await using cluster = await EtcdCluster.start({ enableV2: true });
      using slow = await slowProxy(cluster.member(1).url);
      using client = open(cluster);
      using behind = open({ endpoints: [slow.url] });
      const { revision } = await behind.registry.entries(behind.signal);
      await client.create("10.5.1.0-24");
      const seen = await behind.watch(revision);
      await slow.polled;
      await client.create("10.5.2.0-24");
      await Bun.sleep(100);
      expect(seen.changes).toEqual([]);
      expect(seen.revision()).toBe(revision);
      slow.passPolls();
      await seen.until((changes) => changes.length >= 2);
      expect(seen.changes.map(describeChange)).toEqual(["put 10.5.1.0-24", "put 10.5.2.0-24"]);
    },
    LIMIT_MS,
  );

  test(
    "a burst of 1,000 comes whole, and its last revision is where another goes on",
    async () => {
      await using cluster = await EtcdCluster.start({ enableV2: true });
      using client = open(cluster);
      using writer = open(cluster);
      const seen = await client.watch((await client.registry.entries(client.signal)).revision);
      const keys = Array.from({ length: 1_000 }, (_, i) => `10.${5 + (i >> 8)}.${i & 255}.0-24`);
      const write = async (_: unknown, worker: number) => {
        for (let i = worker; i < keys.length; i += 8) await writer.create(keys[i] ?? "");
      };
      await Promise.all(Array.from({ length: 8 }, write));
      await seen.until((changes) => changes.length >= keys.length);
      expect(seen.changes.map(describeChange).toSorted()).toEqual(keys.map((key) => `put ${key}`).toSorted());
      const after = await client.watch(seen.revision());
      await client.create("10.99.0.0-24");
      await after.until((changes) => changes.length > 0);
      expect(after.changes.map(describeChange)).toEqual(["put 10.99.0.0-24"]);
    },
    LIMIT_MS,
  );

  test(
    "a member that ends breaks the watch; when it is back another goes on",
    async () => {
      await using cluster = await EtcdCluster.start({ enableV2: true });
      using client = open(cluster);
      await client.create("10.5.1.0-24");
      const { revision, history } = await client.registry.entries(client.signal);
      const seen = await client.watch(revision);
      await cluster.member(1).stop();
      await expect(seen.done).rejects.toMatchObject({ reason: "unreachable" });
      await expect(client.registry.entries(client.signal)).rejects.toMatchObject({ reason: "unreachable" });
      cluster.member(1).start();
      await cluster.healthy();
      const again = await client.watch(seen.revision());
      await client.create("10.5.2.0-24");
      await again.until((changes) => changes.length > 0);
      expect(again.changes.map(describeChange)).toEqual(["put 10.5.2.0-24"]);
      expect(await client.registry.entries(client.signal)).toMatchObject({ history, entries: [{}, {}] });
    },
    LIMIT_MS,
  );

  test(
    "a member that freezes is noticed by its silence",
    async () => {
      await using cluster = await EtcdCluster.start({ enableV2: true });
      using client = open(cluster);
      const seen = await client.watch((await client.registry.entries(client.signal)).revision);
      cluster.member(1).signal("SIGSTOP");
      const failure = await seen.done.catch((error: unknown) => error);
      expect(failure).toMatchObject({ name: "StoreError", reason: "unreachable" });
      expect(String(failure)).toContain("no sign of life within 0.3 s");
      cluster.member(1).signal("SIGCONT");
      await eventually(() => client.registry.entries(client.signal));
    },
    LIMIT_MS,
  );

  test(
    "a store that lost its data has another history, also when it has grown past the old one",
    async () => {
      await using cluster = await EtcdCluster.start({ enableV2: true });
      using client = open(cluster);
      await client.create("10.5.1.0-24");
      const before = await client.registry.entries(client.signal);
      const lose = async () => {
        await cluster.member(1).stop();
        cluster.member(1).wipe();
        cluster.member(1).start();
        await cluster.healthy();
        cluster.ctl2("set", "/coreos.com/network/config", "{}");
      };
      await lose();
      await expect(client.watch(before.revision)).rejects.toMatchObject({ reason: "compacted" });
      const empty = await client.registry.entries(client.signal);
      expect(empty).toMatchObject({ entries: [] });
      expect(empty.history).not.toBe(before.history);
      await client.create("10.5.1.0-24");
      const again = await client.registry.entries(client.signal);
      expect(again.history).toBe(empty.history);

      await lose();
      await writeElsewhere(cluster.member(1), 50);
      cluster.ctl2("set", "/coreos.com/network/subnets/10.5.2.0-24", VALUE);
      await expect(client.watch(again.revision)).rejects.toMatchObject({ reason: "compacted" });
      const after = await client.registry.entries(client.signal);
      expect(after.history).not.toBe(again.history);
      expect(after.entries.map(({ key }) => key)).toEqual(["10.5.2.0-24"]);
    },
    LIMIT_MS,
  );

  test(
    "the directory of leases removed as a whole means reading again",
    async () => {
      await using cluster = await EtcdCluster.start({ enableV2: true });
      using client = open(cluster);
      await client.create("10.5.1.0-24");
      const { revision } = await client.registry.entries(client.signal);
      const all = await client.watch(revision);
      const one = await client.watch(revision, "10.5.1.0-24");
      cluster.ctl2("rm", "--recursive", "/coreos.com");
      await expect(all.done).rejects.toMatchObject({ reason: "compacted" });
      await one.until((changes) => changes.length > 0);
      expect(one.changes.map(describeChange)).toEqual(["remove 10.5.1.0-24"]);
      expect((await client.registry.entries(client.signal)).entries).toEqual([]);
    },
    LIMIT_MS,
  );
});

test(
  "behind etcd's own proxy, which holds streams back, each event takes a poll",
  async () => {
    await using cluster = await EtcdCluster.start({ enableV2: true });
    using client = open(cluster);
    const address = `127.97.${process.pid % 250}.1`;
    const url = `http://${address}:2379`;
    const peers = `m1=${cluster.member(1).url.replace(/2379$/, "2380")}`;
    const command = ["etcd", "--proxy", "on", "--listen-client-urls", url, "--initial-cluster", peers];
    const proxy = new EtcdMember("proxy", address, url, command, cluster.directory);
    proxy.start();
    try {
      using behind = open({ endpoints: [url] });
      const { revision } = await eventually(() => behind.registry.entries(behind.signal));
      await client.create("10.5.1.0-24");
      const seen = await behind.watch(revision);
      await seen.until((changes) => changes.length >= 1);
      for (const n of [2, 3, 4]) await client.create(`10.5.${n}.0-24`);
      await seen.until((changes) => changes.length >= 4);
      expect(seen.changes.map(describeChange)).toEqual([1, 2, 3, 4].map((n) => `put 10.5.${n}.0-24`));
      const late = await behind.watch(seen.revision());
      await writeElsewhere(cluster.member(1), 1_100);
      await expect((await behind.watch(revision)).done).rejects.toMatchObject({ reason: "compacted" });
      await client.create("10.5.5.0-24");
      await late.until((changes) => changes.length >= 1);
      await proxy.stop();
      await expect(late.done).rejects.toMatchObject({ reason: "unreachable" });
    } finally {
      await proxy.stop();
    }
  },
  LIMIT_MS,
);

describe("three members", () => {
  test(
    "each may end: the next one serves, and a watch goes on there; without a majority the message says so",
    async () => {
      await using cluster = await EtcdCluster.start({ enableV2: true, members: 3 });
      using client = open(cluster);
      await client.create("10.5.1.0-24");
      let { revision } = await client.registry.entries(client.signal);
      const first = await client.watch(revision);
      await cluster.member(1).stop();
      await expect(first.done).rejects.toMatchObject({ reason: "unreachable" });
      await eventually(() => client.create("10.5.2.0-24"));
      const second = await eventually(() => client.watch(revision));
      await second.until((changes) => changes.length > 0);
      expect(second.changes.map(describeChange)).toEqual(["put 10.5.2.0-24"]);
      ({ revision } = await client.registry.entries(client.signal));

      // The other two know of each other's end by the leader that is missing.
      await cluster.member(2).stop();
      const failure = await second.done.catch((error: unknown) => error);
      expect(failure).toMatchObject({ reason: "unreachable" });
      // The last one is up, and hears of nothing.
      await eventually(async () => {
        const refused = await client.registry.entries(client.signal).catch((error: unknown) => error);
        expect(String(refused)).toContain("no leader");
      });

      cluster.member(1).start();
      cluster.member(2).start();
      await cluster.healthy();
      const third = await eventually(() => client.watch(revision));
      await client.create("10.5.3.0-24");
      await third.until((changes) => changes.length > 0);
      expect(third.changes.map(describeChange)).toEqual(["put 10.5.3.0-24"]);
    },
    LIMIT_MS * 2,
  );

  test(
    "a watch leaves a member that knows of no leader",
    async () => {
      await using cluster = await EtcdCluster.start({ enableV2: true, members: 3 });
      using client = open(cluster);
      const seen = await client.watch((await client.registry.entries(client.signal)).revision);
      await cluster.member(2).stop();
      await cluster.member(3).stop();
      const failure = await seen.done.catch((error: unknown) => error);
      expect(failure).toMatchObject({ name: "StoreError", reason: "unreachable" });
      expect(String(failure)).toContain("knows of no leader");
    },
    LIMIT_MS,
  );
});
