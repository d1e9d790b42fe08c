// --etcd-api=auto on a real etcd: decided by who holds the configuration, and again until somebody does.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { AutoRegistry } from "../../src/subnet/etcd/auto.ts";
import { EtcdCluster } from "./cluster.ts";
import { etcdOptions } from "./options.ts";

const A = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const A_OTHERWISE = '{"Backend":{"Type":"vxlan"}, "Network":"10.5.0.0/16"}';
const B = '{"Network":"10.6.0.0/16","Backend":{"Type":"vxlan"}}';
const { signal } = new AbortController();

let both: EtcdCluster;
let only3: EtcdCluster;
beforeAll(async () => {
  both = await EtcdCluster.start({ enableV2: true });
  only3 = await EtcdCluster.start();
}, 30_000);
afterAll(() => Promise.all([both, only3].map((cluster) => cluster?.[Symbol.asyncDispose]())));

let prefixes = 0;
function open(cluster: { readonly endpoints: readonly string[] }) {
  const prefix = `/auto${prefixes++}/network`;
  return { prefix, registry: new AutoRegistry(etcdOptions(cluster.endpoints, { prefix })) };
}

/** A server of etcd 2: HTTP/1.1 alone. */
function only2(real: EtcdCluster) {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      const { method, headers } = request;
      const body = method === "GET" ? null : await request.text();
      return fetch(`${real.endpoints[0]}${pathname}${search}`, { method, headers, body });
    },
  });
  return { endpoints: [server.url.origin], [Symbol.dispose]: () => void server.stop(true) };
}

describe("the generation that holds the configuration", () => {
  test.each([
    ["v3", A, undefined, "etcd3", A],
    ["v2", undefined, A, "etcd2", A],
    ["v3 where both mean the same", A, A_OTHERWISE, "etcd3", A],
  ] as const)("%s", async (_, in3, in2, kind, text) => {
    const { registry, prefix } = open(both);
    using _registry = registry;
    expect(registry.description).toBe(`etcd at ${both.endpoints[0]}`);
    if (in3) both.ctl("put", `${prefix}/config`, in3);
    if (in2) both.ctl2("set", `${prefix}/config`, in2);
    expect((await registry.config(signal)).text).toBe(text);
    expect(registry.kind).toBe(kind);
    expect(registry.description).toBe(`etcd ${kind === "etcd2" ? "v2" : "v3"} at ${both.endpoints[0]}`);
    await registry.create("10.5.1.0-24", "{}", 60_000, signal);
    const there = kind === "etcd2" ? both.ctl2("get", `${prefix}/subnets/10.5.1.0-24`) : "";
    expect(there).toBe(kind === "etcd2" ? "{}" : "");
    expect((await registry.entries(signal)).entries.map(({ key }) => key)).toEqual(["10.5.1.0-24"]);
  });

  test("two that differ are refused", async () => {
    const { registry, prefix } = open(both);
    using _registry = registry;
    both.ctl("put", `${prefix}/config`, A);
    both.ctl2("set", `${prefix}/config`, B);
    const failure = await registry.config(signal).catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: "StoreError", reason: "invalid" });
    expect(String(failure)).toContain(`${prefix}/config`);
    expect(String(failure)).toContain('Network: "10.5.0.0/16" in v3, "10.6.0.0/16" in v2');
  });
});

describe("while neither has one", () => {
  test.each([
    ["v3", "etcd3"],
    ["v2", "etcd2"],
  ] as const)("it waits for both; %s gets it", async (generation, kind) => {
    const { registry, prefix } = open(both);
    using _registry = registry;
    const { text, revision } = await registry.config(signal);
    expect(text).toBeUndefined();
    const watched = registry.watchConfig(revision, signal)[Symbol.asyncIterator]();
    const next = watched.next();
    await Bun.sleep(50);
    if (generation === "v3") both.ctl("put", `${prefix}/config`, A);
    else both.ctl2("set", `${prefix}/config`, A);
    expect((await next).value?.text).toBe(A);
    expect(registry.kind).toBe(kind);
    const changed = watched.next();
    if (generation === "v3") both.ctl("put", `${prefix}/config`, B);
    else both.ctl2("set", `${prefix}/config`, B);
    expect((await changed).value?.text).toBe(B);
    await watched.return?.();
  });

  test("an abort ends the wait", async () => {
    const { registry } = open(both);
    using _registry = registry;
    const stop = new AbortController();
    const { revision } = await registry.config(stop.signal);
    const next = registry.watchConfig(revision, stop.signal)[Symbol.asyncIterator]().next();
    await Bun.sleep(50);
    stop.abort(new Error("enough"));
    expect((await next).done).toBe(true);
    await expect(registry.config(stop.signal)).rejects.toThrow("enough");
  });

  test("it is written to v3, where there is v3", async () => {
    using old = only2(both);
    for (const [cluster, kind] of [
      [both, "etcd3"],
      [only3, "etcd3"],
      [old, "etcd2"],
    ] as const) {
      const { registry } = open(cluster);
      using _registry = registry;
      await registry.setConfig(A, signal);
      expect((await registry.config(signal)).text).toBe(A);
      expect(registry.kind).toBe(kind);
    }
  });
});

test("who cannot be reached at all is told once", async () => {
  const { registry } = open({ endpoints: ["http://127.0.0.1:9"] });
  using _registry = registry;
  const failure = await registry.config(signal).catch((error: unknown) => error);
  expect(failure).toMatchObject({ name: "StoreError", reason: "unreachable" });
  expect(String(failure)).toContain("ECONNREFUSED");
  expect(String(failure)).not.toContain("v2 API");
});
