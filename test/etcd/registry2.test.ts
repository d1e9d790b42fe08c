// What upstream's v2 era wrote and reads, and what can be refused, on a real etcd with its v2 API.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Etcd2Registry } from "../../src/subnet/etcd/registry2.ts";
import type { RegistryEntry } from "../../src/subnet/registry.ts";
import { collect, describeChange } from "../store/registry_contract.ts";
import { EtcdCluster } from "./cluster.ts";
import { etcdOptions } from "./options.ts";

const VALUE = '{"PublicIP":"192.0.2.1","BackendType":"vxlan","BackendData":{"VtepMAC":"7e:09:3b:fa:c1:0d"}}';
const OTHER = VALUE.replace("192.0.2.1", "192.0.2.2");
const DAY_MS = 86_400_000;
const DUAL = "10.5.5.0-24&fd00:0:0:5::-64";
const { signal } = new AbortController();

let cluster: EtcdCluster;
beforeAll(async () => {
  cluster = await EtcdCluster.start({ enableV2: true });
}, 30_000);
afterAll(() => cluster?.[Symbol.asyncDispose]());

async function created(registry: Etcd2Registry, key: string, ttlMs: number | undefined): Promise<RegistryEntry> {
  const entry = await registry.create(key, VALUE, ttlMs, signal);
  if (entry === "exists") throw new Error(`${key} exists`);
  return entry;
}

/** The node as any client of the v2 API reads it. */
async function readNode(key: string) {
  const response = await fetch(`${cluster.endpoints[0]}/v2/keys${key.split("/").map(encodeURIComponent).join("/")}`);
  return ((await response.json()) as { node: { value: string; ttl?: number; createdIndex: number } }).node;
}

describe("keys, values and TTLs are v0.7.1's", () => {
  test("what is written reads as it does in etcdctl", async () => {
    using registry = new Etcd2Registry(etcdOptions(cluster.endpoints, { prefix: "/written/" }));
    await registry.setConfig('{"Network":"10.5.0.0/16"}', signal);
    await created(registry, "10.5.1.0-24", DAY_MS);
    await created(registry, DUAL, undefined);
    expect(cluster.ctl2("get", "/written/config")).toBe('{"Network":"10.5.0.0/16"}');
    expect(cluster.ctl2("ls", "/written/subnets").split("\n").toSorted()).toEqual([
      "/written/subnets/10.5.1.0-24",
      `/written/subnets/${DUAL}`,
    ]);
    const node = await readNode("/written/subnets/10.5.1.0-24");
    expect(node.value).toBe(VALUE);
    expect(node.ttl).toBeGreaterThan(86_390);
    expect(node.ttl).toBeLessThanOrEqual(86_400);
    expect(await readNode(`/written/subnets/${DUAL}`)).not.toHaveProperty("ttl");
  });

  test("what etcdctl wrote is read, by entries and by watch; a set that renews keeps the lease", async () => {
    using registry = new Etcd2Registry(etcdOptions(cluster.endpoints, { prefix: "/read" }));
    cluster.ctl2("set", "--ttl", "86400", "/read/subnets/10.5.1.0-24", VALUE);
    cluster.ctl2("set", "/read/subnets/10.5.2.0-24", VALUE);
    cluster.ctl2("set", "/read/subnets/deeper/10.5.3.0-24", VALUE);
    const { entries, revision } = await registry.entries(signal);
    expect(entries.map(({ key, reserved }) => [key, reserved])).toEqual([
      ["10.5.1.0-24", false],
      ["10.5.2.0-24", true],
    ]);
    const left = (entries[0]?.expiresAt ?? 0) - Date.now();
    expect(left).toBeGreaterThan(DAY_MS - 30_000);
    expect(left).toBeLessThanOrEqual(DAY_MS);
    const stop = new AbortController();
    const seen = collect(registry.watch(revision, stop.signal));
    cluster.ctl2("set", "--ttl", "86400", "/read/subnets/10.5.1.0-24", VALUE);
    cluster.ctl2("set", "/read/subnets/deeper/10.5.3.0-24", OTHER);
    cluster.ctl2("rm", "/read/subnets/10.5.2.0-24");
    await seen.until((changes) => changes.length >= 2);
    expect(seen.changes.map(describeChange)).toEqual(["put 10.5.1.0-24", "remove 10.5.2.0-24"]);
    stop.abort();
  });

  test("a lease that an operator made a reservation meanwhile stays one, its value being the same", async () => {
    using registry = new Etcd2Registry(etcdOptions(cluster.endpoints, { prefix: "/reserved" }));
    const lease = await created(registry, "10.5.1.0-24", DAY_MS);
    cluster.ctl2("set", "/reserved/subnets/10.5.1.0-24", VALUE);
    expect(await registry.renew(lease, DAY_MS, signal)).toBe("lost");
    const { entry } = await registry.entry("10.5.1.0-24", signal);
    expect(await registry.renew(entry as RegistryEntry, DAY_MS, signal)).toMatchObject({ reserved: true });
    expect(await readNode("/reserved/subnets/10.5.1.0-24")).not.toHaveProperty("ttl");
  });

  test("who read an entry before it was renewed can still replace and remove it", async () => {
    using registry = new Etcd2Registry(etcdOptions(cluster.endpoints, { prefix: "/renewed" }));
    const before = await created(registry, DUAL, 5_000);
    await registry.renew(before, DAY_MS, signal);
    expect((await readNode(`/renewed/subnets/${DUAL}`)).ttl).toBeGreaterThan(5);
    const replaced = await registry.replace(before, OTHER, DAY_MS, signal);
    expect(replaced).toMatchObject({ value: OTHER, reserved: false });
    await registry.renew(replaced as RegistryEntry, DAY_MS, signal);
    expect(await registry.remove(replaced as RegistryEntry, signal)).toBe("removed");
  });
});

test("a cluster too old for refresh=true is renewed by writing the value again", async () => {
  const real = cluster.endpoints[0] ?? "";
  using old = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      if (pathname === "/version") return Response.json({ etcdserver: "2.3.8", etcdcluster: "2.2.0" });
      const { method } = request;
      const form = new URLSearchParams(await request.text());
      form.delete("refresh"); // as it does with what it does not know
      return fetch(`${real}${pathname}${search}`, { method, body: method === "GET" ? null : form });
    },
  });
  using registry = new Etcd2Registry(etcdOptions([old.url.origin], { prefix: "/old" }));
  const lease = await created(registry, "10.5.1.0-24", 5_000);
  expect(await registry.renew(lease, DAY_MS, signal)).toMatchObject({ value: VALUE, revision: lease.revision });
  const { value, ttl } = await readNode("/old/subnets/10.5.1.0-24");
  expect(value).toBe(VALUE);
  expect(ttl).toBeGreaterThan(5);
  old.stop(true);
});

test("a server without the v2 API is told from one that is out of reach", async () => {
  await using plain = await EtcdCluster.start();
  using registry = new Etcd2Registry(etcdOptions(plain.endpoints));
  const failure = await registry.config(signal).catch((error: unknown) => error);
  expect(failure).toMatchObject({ name: "StoreError", reason: "absent" });
  expect(String(failure)).toContain(`${plain.endpoints[0]} does not serve the v2 API`);
  expect(String(failure)).toMatch(/--enable-v2 .*--etcd-api=3/);
  await plain.member(1).stop();
  await expect(registry.config(signal)).rejects.toMatchObject({ reason: "unreachable" });
});

describe("users", () => {
  test("only who may is let in, and the message names the flags", async () => {
    await using guarded = await EtcdCluster.start({ enableV2: true });
    for (const words of [
      "role add flannel",
      "role grant flannel --path=/coreos.com/network/* --readwrite",
      "user add flannel:Passw0rt",
      "user grant flannel --roles=flannel",
      "user add root:toor",
      "auth enable",
      "--username root:toor role revoke guest --path=/* --readwrite",
    ]) {
      guarded.ctl2(...words.split(" "));
    }
    const open = (username: string, password: string, prefix = "/coreos.com/network") =>
      new Etcd2Registry(etcdOptions(guarded.endpoints, { username, password, prefix }));
    using right = open("flannel", "Passw0rt");
    await right.setConfig("{}", signal);
    const entry = await created(right, "10.5.1.0-24", DAY_MS);
    const stop = new AbortController();
    const seen = collect(right.watch((await right.entries(signal)).revision, stop.signal));
    await right.replace(entry, OTHER, DAY_MS, signal);
    await seen.until((changes) => changes.length > 0);
    stop.abort();
    for (const [username, password, prefix, advice] of [
      ["", "", "/coreos.com/network", "give --etcd-username and --etcd-password"],
      ["flannel", "Falsch1t", "/coreos.com/network", "check that --etcd-username flannel exists"],
      ["flannel", "Passw0rt", "/elsewhere", "a role lets it"],
    ] as const) {
      using refused = open(username, password, prefix);
      for (const call of [() => refused.config(signal), () => refused.setConfig("{}", signal)]) {
        const failure = await call().catch((error: unknown) => error);
        expect(failure).toMatchObject({ name: "StoreError", reason: "denied" });
        expect(String(failure)).toContain(advice);
        expect(String(failure)).not.toMatch(/Passw0rt|Falsch1t/);
      }
    }
  });
});
