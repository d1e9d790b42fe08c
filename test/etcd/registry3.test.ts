// What the registry of etcd v3 does beyond the contract of all registries, on a real etcd: the keys of upstream, TTLs, leases
// that others share, histories, users, and what etcd says when it does not serve.

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { EtcdOptions } from "../../src/subnet/etcd/options.ts";
import { Etcd3Registry } from "../../src/subnet/etcd/registry3.ts";
import type { RegistryEntry, Revision } from "../../src/subnet/registry.ts";
import { collect, describeChange } from "../store/registry_contract.ts";
import { EtcdCluster } from "./cluster.ts";
import { failureOf } from "./failure.ts";
import { etcdOptions } from "./options.ts";

const PREFIX = "/coreos.com/network";
const VALUE = '{"PublicIP":"192.0.2.1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"aa:bb:cc:00:00:01"}}';
const DAY_MS = 24 * 60 * 60 * 1000;

const cleanup: (() => void | Promise<void>)[] = [];
let controller = new AbortController();

afterEach(async () => {
  controller.abort(new Error("the test is over"));
  controller = new AbortController();
  for (const undo of cleanup.splice(0).reverse()) await undo();
});

function open(cluster: EtcdCluster, changes: Partial<EtcdOptions> = {}): Etcd3Registry {
  const registry = new Etcd3Registry(etcdOptions(cluster.endpoints, changes));
  cleanup.push(() => registry[Symbol.dispose]());
  return registry;
}

async function started(options: Parameters<typeof EtcdCluster.start>[0] = {}): Promise<EtcdCluster> {
  const cluster = await EtcdCluster.start(options);
  cleanup.push(() => cluster[Symbol.asyncDispose]());
  return cluster;
}

function made<T extends RegistryEntry>(entry: T | "exists" | "conflict" | "lost"): T {
  if (typeof entry === "string") throw new Error(entry);
  return entry;
}

interface Stored {
  readonly key: string;
  readonly value: string;
  readonly lease: string;
  readonly revision: number;
}

/** What etcdctl sees below the prefix. Leases are numbers beyond JavaScript's, so their text is kept. */
function stored(cluster: EtcdCluster): readonly Stored[] {
  const text = cluster.ctl("get", "--prefix", PREFIX, "-w", "json").replace(/"lease":(\d+)/g, '"lease":"$1"');
  const { kvs = [] } = JSON.parse(text) as {
    kvs?: { key: string; value: string; lease?: string; mod_revision: number }[];
  };
  return kvs.map(({ key, value, lease, mod_revision: revision }) => ({
    key: atob(key),
    value: atob(value),
    lease: BigInt(lease ?? 0).toString(16),
    revision,
  }));
}

function leasesOf(cluster: EtcdCluster): readonly string[] {
  return cluster
    .ctl("lease", "list")
    .split("\n")
    .slice(1)
    .map((lease) => BigInt(`0x${lease}`).toString(16));
}

describe("one etcd", () => {
  let cluster: EtcdCluster;
  beforeAll(async () => {
    cluster = await EtcdCluster.start();
  }, 30_000);
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });
  afterEach(() => {
    cluster.ctl("del", "--prefix", "/");
    for (const lease of leasesOf(cluster)) cluster.ctl("lease", "revoke", lease);
  });

  test("keys, value and TTL are upstream's; one lease for each key; nothing is left of it", async () => {
    const registry = open(cluster);
    const { signal } = controller;
    const entry = made(await registry.create("10.5.1.0-24", VALUE, DAY_MS, signal));
    const [key] = stored(cluster);
    expect(key).toMatchObject({ key: `${PREFIX}/subnets/10.5.1.0-24`, value: VALUE });
    expect(cluster.ctl("lease", "timetolive", key?.lease ?? "", "--keys")).toMatch(
      new RegExp(`granted with TTL\\(86400s\\).*${PREFIX}/subnets/10.5.1.0-24`),
    );
    expect(await registry.create("10.5.1.0-24", VALUE, DAY_MS, signal)).toBe("exists");
    expect(leasesOf(cluster)).toHaveLength(1);
    expect(await registry.remove(entry, signal)).toBe("removed");
    expect(leasesOf(cluster)).toEqual([]);
  });

  test("renewing makes no lease and no event, and gives the whole time again", async () => {
    const registry = open(cluster);
    const { signal } = controller;
    const entry = made(await registry.create("10.5.1.0-24", VALUE, DAY_MS, signal));
    const before = stored(cluster);
    await Bun.sleep(2_100);
    const left = async () => ((await registry.expiry(entry, signal)) ?? 0) - Date.now();
    expect(await left()).toBeLessThan(DAY_MS - 1_000);
    made(await registry.renew(entry, DAY_MS, signal));
    expect(await left()).toBeGreaterThan(DAY_MS - 2_000);
    expect(stored(cluster)).toEqual(before);
    expect(leasesOf(cluster)).toEqual([before[0]?.lease ?? ""]);
  });

  test("a lease granted for less is replaced by one for the time that is wanted; one for more is kept", async () => {
    const registry = open(cluster);
    const { signal } = controller;
    const short = made(await registry.create("10.5.1.0-24", VALUE, 60_000, signal));
    const { revision } = await registry.entries(signal);
    const seen = collect(registry.watch(revision, signal));
    const longer = made(await registry.renew(short, DAY_MS, signal));
    await seen.until((changes) => changes.length > 0);
    expect(longer.revision).not.toBe(short.revision);
    expect(longer.expiresAt ?? 0).toBeGreaterThan(Date.now() + DAY_MS - 5_000);
    expect(leasesOf(cluster)).toEqual([stored(cluster)[0]?.lease ?? ""]);
    const kept = made(await registry.renew(longer, 60_000, signal));
    expect(kept.revision).toBe(longer.revision);
    expect(kept.expiresAt ?? 0).toBeGreaterThan(Date.now() + DAY_MS - 5_000);
  });

  test("replacing keeps the etcd lease while its time stays, and revokes it when no key needs it", async () => {
    const registry = open(cluster);
    const { signal } = controller;
    const entry = made(await registry.create("10.5.1.0-24", VALUE, DAY_MS, signal));
    const [before] = stored(cluster);
    const replaced = made(await registry.replace(entry, "{}", DAY_MS, signal));
    expect(stored(cluster)[0]).toMatchObject({ value: "{}", lease: before?.lease ?? "" });
    const reserved = made(await registry.replace(replaced, "{}", undefined, signal));
    expect(reserved.reserved).toBe(true);
    expect(stored(cluster)[0]?.lease).toBe("0");
    expect(leasesOf(cluster)).toEqual([]);
    const again = made(await registry.replace(reserved, VALUE, undefined, signal));
    expect(again.reserved).toBe(true);
    expect(made(await registry.renew(again, DAY_MS, signal)).reserved).toBe(true);
    expect(leasesOf(cluster)).toEqual([]);
  });

  test("a lease that another key hangs on is left alone", async () => {
    const registry = open(cluster);
    const { signal } = controller;
    const lease = /lease ([0-9a-f]+) granted/.exec(cluster.ctl("lease", "grant", "600"))?.[1] ?? "";
    for (const key of ["10.5.1.0-24", "10.5.2.0-24"]) {
      cluster.ctl("put", `--lease=${lease}`, `${PREFIX}/subnets/${key}`, VALUE);
    }
    const { entries } = await registry.entries(signal);
    const [first] = entries;
    if (!first) throw new Error("no entry");
    made(await registry.replace(first, VALUE, DAY_MS, signal));
    expect(stored(cluster).map(({ key }) => key)).toEqual(
      ["10.5.1.0-24", "10.5.2.0-24"].map((key) => `${PREFIX}/subnets/${key}`),
    );
    const second = entries[1];
    if (!second) throw new Error("no second entry");
    expect(await registry.remove(second, signal)).toBe("removed");
    expect(leasesOf(cluster)).toEqual([stored(cluster)[0]?.lease ?? ""]);
  });

  test("of twenty clients that create one key at once, one does, and no lease is left over", async () => {
    const registries = Array.from({ length: 20 }, () => open(cluster));
    const { signal } = controller;
    const all = await Promise.all(registries.map((one) => one.create("10.5.1.0-24", VALUE, DAY_MS, signal)));
    expect(all.filter((one) => one !== "exists")).toHaveLength(1);
    expect(leasesOf(cluster)).toHaveLength(1);
  });

  test("ten thousand leases are read by one request, in order of creation", async () => {
    const registry = open(cluster);
    const { signal } = controller;
    const keys = Array.from({ length: 10_000 }, (_, i) => `10.${99 - (i >> 8)}.${i & 255}.0-24`);
    for (let i = 0; i < keys.length; i += 100) {
      const puts = keys.slice(i, i + 100).map((key) => `put ${PREFIX}/subnets/${key} ${JSON.stringify(VALUE)}`);
      Bun.spawnSync(["etcdctl", `--endpoints=${cluster.endpoints}`, "txn"], {
        stdin: Buffer.from(`\n${puts.join("\n")}\n\n\n`),
        env: { ...process.env, ETCDCTL_API: "3" },
      });
    }
    const requests = () =>
      Number(
        /grpc_server_started_total\{grpc_method="Txn",[^}]*\} (\d+)/.exec(
          Bun.spawnSync(["curl", "-s", `${cluster.member(1).url}/metrics`]).stdout.toString(),
        )?.[1] ?? 0,
      );
    const before = requests();
    const { entries } = await registry.entries(signal);
    expect(requests() - before).toBe(1);
    expect(entries).toHaveLength(keys.length);
    expect(new Set(entries.map(({ key }) => key))).toEqual(new Set(keys));
    expect(entries.every(({ value }) => value === VALUE)).toBe(true);
  }, 30_000);

  test("the configuration that is deleted is told as none", async () => {
    const registry = open(cluster);
    const { signal } = controller;
    await registry.setConfig("{}", signal);
    const { revision } = await registry.config(signal);
    const watched = registry.watchConfig(revision, signal)[Symbol.asyncIterator]();
    const next = watched.next();
    cluster.ctl("del", `${PREFIX}/config`);
    expect((await next).value).toMatchObject({ text: undefined });
  });

  test("keys of neighbours with the same beginning are not read", async () => {
    const registry = open(cluster);
    cluster.ctl("put", `${PREFIX}/subnets2/10.5.1.0-24`, VALUE);
    cluster.ctl("put", `${PREFIX}/subnetsx`, VALUE);
    cluster.ctl("put", `${PREFIX}/subnets/10.5.2.0-24`, VALUE);
    expect((await registry.entries(controller.signal)).entries.map(({ key }) => key)).toEqual(["10.5.2.0-24"]);
  });

  test("a watch from before the last compaction says so, and so does one from the future", async () => {
    const registry = open(cluster);
    const { signal } = controller;
    const { revision } = await registry.entries(signal);
    for (let i = 0; i < 3; i++) await registry.setConfig(`{"n":${i}}`, signal);
    const last = stored(cluster)[0]?.revision ?? 0;
    cluster.ctl("compact", String(last));
    const first = async (since: Revision) => {
      for await (const batch of registry.watch(since, signal)) if (batch.changes.length > 0) return batch;
      return undefined;
    };
    expect(await failureOf(first(revision))).toMatchObject({ reason: "compacted" });
    const future = revision.replace(/:\d+/, ":999999999") as Revision;
    expect(await failureOf(first(future))).toMatchObject({ reason: "compacted" });
    expect(await failureOf(registry.createdSince(future, signal))).toMatchObject({ reason: "compacted" });
    const other = revision.replace(/^[0-9a-f]+/, "abc") as Revision;
    expect(await failureOf(first(other))).toMatchObject({
      reason: "compacted",
      message: expect.stringContaining("another cluster"),
    });
  });

  test("a burst of changes comes whole, in order, by few batches", async () => {
    const registry = open(cluster);
    const writer = open(cluster);
    const { signal } = controller;
    const { revision } = await registry.entries(signal);
    const seen = collect(registry.watch(revision, signal));
    const keys = Array.from({ length: 500 }, (_, i) => `10.5.${i % 256}.0-${20 + (i >> 8)}`);
    await Promise.all(keys.map((key) => writer.create(key, VALUE, undefined, signal)));
    await seen.until((changes) => changes.length >= keys.length);
    const revisions = seen.changes.map((change) =>
      change.kind === "put" ? Number(change.entry.revision.split(":")[1]) : 0,
    );
    expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
    expect(new Set(seen.changes.map(describeChange)).size).toBe(keys.length);
  }, 20_000);
});

test("a store that was set up anew is another history, though its id is the same", async () => {
  const cluster = await started();
  const registry = open(cluster);
  const { signal } = controller;
  for (let i = 0; i < 5; i++) await registry.setConfig(`{"n":${i}}`, signal);
  const before = await registry.entries(signal);
  const [member] = cluster.members;
  await member?.stop();
  member?.wipe();
  member?.start();
  await cluster.healthy();
  const watched = registry.watch(before.revision, signal)[Symbol.asyncIterator]();
  expect(await failureOf(watched.next())).toMatchObject({
    reason: "compacted",
    message: expect.stringContaining("lost or replaced"),
  });
  const after = await registry.entries(signal);
  expect(after.history).not.toBe(before.history);
  expect(after.history.split(".")[0]).toBe(before.history.split(".")[0] ?? "");
  expect((await registry.entries(signal)).history).toBe(after.history);
  // Neither does a revision of before become one of now when the new store has come further.
  for (let i = 0; i < 9; i++) await registry.setConfig(`{"n":${i}}`, signal);
  const late = registry.watch(before.revision, signal)[Symbol.asyncIterator]();
  expect(await failureOf(late.next())).toMatchObject({ reason: "compacted" });
}, 30_000);

test("a store that was set up anew and has grown past what was known is another history all the same", async () => {
  const cluster = await started();
  const registry = open(cluster);
  const { signal } = controller;
  await registry.setConfig("{}", signal);
  await registry.create("10.5.1.0-24", VALUE, DAY_MS, signal);
  const before = await registry.entries(signal);
  const [member] = cluster.members;
  await member?.stop();
  member?.wipe();
  member?.start();
  await cluster.healthy();
  for (let i = 0; i < 20; i++) cluster.ctl("put", "/elsewhere", String(i));
  cluster.ctl("put", "/coreos.com/network/config", "{}");
  const watched = registry.watch(before.revision, signal)[Symbol.asyncIterator]();
  expect(await failureOf(watched.next())).toMatchObject({ reason: "compacted" });
  expect((await registry.entries(signal)).history).not.toBe(before.history);
}, 30_000);

test("a store whose disk quota is used up says what to do, and still reads and renews", async () => {
  const cluster = await started({ flags: ["--quota-backend-bytes=16777216"] });
  const registry = open(cluster);
  const { signal } = controller;
  const entry = made(await registry.create("10.5.1.0-24", VALUE, DAY_MS, signal));
  const big = "x".repeat(1_000_000);
  const fill = async () => {
    // The file's size, which counts, grows with the commits that follow the writes.
    for (;;) await registry.setConfig(big, signal);
  };
  expect(await failureOf(fill())).toMatchObject({
    reason: "unreachable",
    message: expect.stringContaining("alarm NOSPACE"),
  });
  expect(await failureOf(registry.create("10.5.2.0-24", VALUE, DAY_MS, signal))).toMatchObject({
    message: expect.stringContaining("alarm disarm"),
  });
  made(await registry.renew(entry, DAY_MS, signal));
  expect((await registry.entries(signal)).entries).toHaveLength(1);
}, 30_000);

test("a value that is too large for etcd is invalid", async () => {
  const cluster = await started();
  expect(await failureOf(open(cluster).setConfig("x".repeat(2_000_000), controller.signal))).toMatchObject({
    reason: "invalid",
    message: expect.stringContaining("--max-request-bytes"),
  });
}, 20_000);

describe("users", () => {
  let cluster: EtcdCluster;
  const root = (...words: string[]) => cluster.ctl("--user=root:root", ...words);
  const user = { username: "flanneld", password: "s3cret word" };

  beforeAll(async () => {
    cluster = await EtcdCluster.start({ flags: ["--auth-token-ttl=1"] });
    cluster.ctl("user", "add", "root:root");
    cluster.ctl("user", "grant-role", "root", "root");
    cluster.ctl("role", "add", "flannel");
    cluster.ctl("role", "grant-permission", "flannel", "--prefix=true", "readwrite", PREFIX);
    cluster.ctl("user", "add", `${user.username}:${user.password}`);
    cluster.ctl("user", "grant-role", user.username, "flannel");
    cluster.ctl("user", "add", "stranger:stranger");
    cluster.ctl("auth", "enable");
  }, 30_000);
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  test("a user with a role for the prefix does everything, also once its token expired", async () => {
    const registry = open(cluster, user);
    const { signal } = controller;
    const entry = made(await registry.create("10.5.1.0-24", VALUE, DAY_MS, signal));
    await Bun.sleep(3_000); // tokens are looked through every second
    const before = (await registry.entries(signal)).revision;
    const seen = collect(registry.watch(before, signal));
    made(await registry.renew(entry, DAY_MS, signal));
    await Bun.sleep(3_000);
    const late = collect(registry.watch(before, signal));
    const replaced = made(await registry.replace(entry, "{}", DAY_MS, signal));
    await Promise.all([seen, late].map((watch) => watch.until((changes) => changes.length > 0)));
    expect(await registry.remove(replaced, signal)).toBe("removed");
  }, 20_000);

  test("a token that is older than the last change of users is renewed", async () => {
    const registry = open(cluster, user);
    const { signal } = controller;
    await registry.entries(signal);
    root("user", "add", "another:another");
    await registry.setConfig("{}", signal);
    expect((await registry.config(signal)).text).toBe("{}");
  });

  test.each([
    [
      "wrong password",
      { ...user, password: "wrong one" },
      "user flanneld or its password is wrong; check --etcd-username",
    ],
    ["unknown user", { username: "nobody", password: "wrong one" }, "nobody"],
    ["no user", { username: "", password: "" }, "it demands a user; give --etcd-username and --etcd-password"],
    [
      "no permission",
      { username: "stranger", password: "stranger" },
      `permission denied to user stranger; it needs read for prefix ${PREFIX}/subnets/`,
    ],
  ])("%s is denied, with the cause and without the password", async (_title, changes, says) => {
    const registry = open(cluster, changes);
    const failure = await failureOf(registry.entries(controller.signal));
    expect(failure).toMatchObject({ name: "StoreError", reason: "denied" });
    expect(failure.message).toContain(says);
    expect(Bun.inspect(failure)).not.toContain("wrong one");
  });

  test("a watch without permission is denied, and a write names what it needs", async () => {
    const registry = open(cluster, { username: "stranger", password: "stranger" });
    const { signal } = controller;
    const allowed = open(cluster, user);
    const { revision } = await allowed.entries(signal);
    const watched = registry.watch(revision, signal)[Symbol.asyncIterator]();
    expect(await failureOf(watched.next())).toMatchObject({ reason: "denied" });
    expect(await failureOf(registry.setConfig("{}", signal))).toMatchObject({
      message: expect.stringContaining(`it needs readwrite for prefix ${PREFIX}`),
    });
  });

  test("a cluster without users takes a client that has one", async () => {
    const open_ = await started();
    const registry = open(open_, user);
    expect((await registry.entries(controller.signal)).entries).toEqual([]);
  }, 20_000);
});
