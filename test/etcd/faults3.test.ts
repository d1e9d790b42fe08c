// What happens to clusters, as the registry of etcd v3 takes it: members that crash, hang and lose each other, connections that
// are reset, kept idle or cut without a word. A fault is told as StoreError, nothing ends the process, and afterwards all goes
// on where it was. An error without a listener fails these tests by itself.

import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { ETCD_TIMING, type EtcdOptions } from "../../src/subnet/etcd/options.ts";
import { Etcd3Registry } from "../../src/subnet/etcd/registry3.ts";
import type { Registry, Revision } from "../../src/subnet/registry.ts";
import { StoreError } from "../../src/subnet/store_error.ts";
import { Namespace, run } from "../kernel/linux_world.ts";
import { EtcdCluster, type Place } from "./cluster.ts";
import { failureOf } from "./failure.ts";
import { etcdOptions } from "./options.ts";
import { TcpProxy } from "./proxy.ts";

const VALUE = '{"PublicIP":"192.0.2.1"}';
/** etcd then takes pings a second apart. */
const FAST_PINGS = ["--grpc-keepalive-min-time=1s"];
const FAST = { connectMs: 500, requestMs: 3_000, pingMs: 1_000, pongMs: 500 };

const cleanup: (() => void | Promise<void>)[] = [];
let controller = new AbortController();

afterEach(async () => {
  controller.abort(new Error("the test is over"));
  controller = new AbortController();
  for (const undo of cleanup.splice(0).reverse()) await undo();
});

async function started(options: Parameters<typeof EtcdCluster.start>[0] = {}): Promise<EtcdCluster> {
  const cluster = await EtcdCluster.start(options);
  cleanup.push(() => cluster[Symbol.asyncDispose]());
  return cluster;
}

function open(endpoints: readonly string[], changes: Partial<EtcdOptions> = {}): Etcd3Registry {
  const registry = new Etcd3Registry(etcdOptions(endpoints, changes));
  cleanup.push(() => registry[Symbol.dispose]());
  return registry;
}

async function proxyTo(cluster: EtcdCluster): Promise<TcpProxy> {
  const proxy = await TcpProxy.to(cluster.member(1).address, 2379);
  cleanup.push(() => proxy[Symbol.asyncDispose]());
  return proxy;
}

/** Tries until it succeeds, as the subnet manager does; what is not a store's fault is thrown. */
async function persist<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason !== "unreachable") throw error;
      await Bun.sleep(50);
    }
  }
}

/** Watches on from where it broke, as the subnet manager does. */
function follow(registry: Registry, from: Revision) {
  const { signal } = controller;
  const keys = new Set<string>();
  const failures: string[] = [];
  let since = from;
  let failed: unknown;
  const work = async () => {
    while (!signal.aborted) {
      await persist(async () => {
        try {
          for await (const { changes, revision } of registry.watch(since, signal)) {
            since = revision;
            for (const change of changes) if (change.kind === "put") keys.add(change.entry.key);
          }
        } catch (error) {
          failures.push(String(error));
          throw error;
        }
      });
    }
  };
  work().catch((error: unknown) => {
    failed = error;
  });
  return {
    keys,
    failures,
    async until(done: () => boolean): Promise<void> {
      while (!done()) {
        if (failed) throw failed;
        await Bun.sleep(20);
      }
    },
  };
}

test("a member that crashes breaks the watch; it goes on where it was when the member is back", async () => {
  const cluster = await started();
  const registry = open(cluster.endpoints);
  const { signal } = controller;
  const { revision } = await registry.entries(signal);
  const seen = follow(registry, revision);
  await registry.create("10.5.1.0-24", VALUE, undefined, signal);
  await seen.until(() => seen.keys.size === 1);
  const [member] = cluster.members;
  const under = Array.from({ length: 20 }, () => registry.entries(signal).catch((error: unknown) => error));
  await member?.stop("SIGKILL");
  for (const outcome of await Promise.all(under)) {
    if (outcome instanceof Error) expect(outcome).toMatchObject({ name: "StoreError", reason: "unreachable" });
  }
  expect(await failureOf(registry.entries(signal))).toMatchObject({ reason: "unreachable" });
  await seen.until(() => seen.failures.length > 0);
  member?.start();
  await persist(() => registry.create("10.5.2.0-24", VALUE, undefined, signal));
  await seen.until(() => seen.keys.size === 2);
}, 30_000);

test("an orderly restart breaks the watch as well, and it goes on", async () => {
  const cluster = await started();
  const registry = open(cluster.endpoints);
  const { signal } = controller;
  const { revision } = await registry.entries(signal);
  const seen = follow(registry, revision);
  await registry.create("10.5.1.0-24", VALUE, undefined, signal);
  await seen.until(() => seen.keys.size === 1);
  await cluster.member(1).stop("SIGTERM");
  cluster.member(1).start();
  await persist(() => registry.create("10.5.2.0-24", VALUE, undefined, signal));
  await seen.until(() => seen.keys.size === 2);
}, 30_000);

test("a member that hangs is noticed by its silence", async () => {
  const cluster = await started({ flags: FAST_PINGS });
  const registry = open(cluster.endpoints, { timing: FAST });
  const { signal } = controller;
  const { revision } = await registry.entries(signal);
  const seen = follow(registry, revision);
  await registry.create("10.5.1.0-24", VALUE, undefined, signal);
  await seen.until(() => seen.keys.size === 1);
  cluster.member(1).signal("SIGSTOP");
  await seen.until(() => seen.failures.length > 0);
  expect(seen.failures[0]).toContain("no answer to a ping within 0.5 s");
  expect(await failureOf(registry.entries(signal))).toMatchObject({ reason: "unreachable" });
  cluster.member(1).signal("SIGCONT");
  await persist(() => registry.create("10.5.2.0-24", VALUE, undefined, signal));
  await seen.until(() => seen.keys.size === 2);
}, 30_000);

test("connections that are reset in the middle of everything cost nothing but another try", async () => {
  const cluster = await started();
  const proxy = await proxyTo(cluster);
  const registry = open([proxy.url]);
  const { signal } = controller;
  const { revision } = await registry.entries(signal);
  const seen = follow(registry, revision);
  const keys = Array.from({ length: 60 }, (_, i) => `10.5.${i}.0-24`);
  const writing = Promise.all(
    keys.map(async (key, i) => {
      await Bun.sleep(i * 5);
      // What was under way when the connection broke may have happened: then it exists.
      await persist(() => registry.create(key, VALUE, i % 2 === 0 ? undefined : 60_000, signal));
    }),
  );
  for (let i = 0; i < 10; i++) {
    await Bun.sleep(40);
    proxy.reset();
  }
  await writing;
  await seen.until(() => keys.every((key) => seen.keys.has(key)));
  expect(proxy.connections).toBeGreaterThan(3);
  expect((await registry.entries(signal)).entries).toHaveLength(keys.length);
}, 30_000);

test("an idle watch keeps its one connection, and etcd does not find its pings too many", async () => {
  const cluster = await started({ flags: FAST_PINGS });
  const proxy = await proxyTo(cluster);
  const registry = open([proxy.url], { timing: FAST });
  const { signal } = controller;
  const { revision } = await registry.entries(signal);
  const seen = follow(registry, revision);
  await Bun.sleep(8_000);
  await registry.create("10.5.1.0-24", VALUE, undefined, signal);
  await seen.until(() => seen.keys.size === 1);
  expect(seen.failures).toEqual([]);
  expect(proxy.connections).toBe(1);
}, 30_000);

test("pings that come too often are what that test would show", async () => {
  const cluster = await started();
  const registry = open(cluster.endpoints, { timing: { ...FAST, pingMs: 200 } });
  const { revision } = await registry.entries(controller.signal);
  const seen = follow(registry, revision);
  await seen.until(() => seen.failures.length > 0);
}, 30_000);

test("a leader that is killed while everybody writes and watches is replaced by the others", async () => {
  const cluster = await started({ members: 3 });
  const { signal } = controller;
  const leader = cluster.leader();
  const others = cluster.endpoints.filter((url) => url !== leader.url);
  const writer = open([leader.url, ...others]);
  const watcher = open([leader.url, ...others]);
  const { revision, history } = await watcher.entries(signal);
  const seen = follow(watcher, revision);
  const keys = Array.from({ length: 40 }, (_, i) => `10.5.${i}.0-24`);
  for (const [i, key] of keys.entries()) {
    if (i === 10) await leader.stop("SIGKILL");
    await persist(() => writer.create(key, VALUE, 60_000, signal));
  }
  await seen.until(() => keys.every((key) => seen.keys.has(key)));
  const after = await persist(() => watcher.entries(signal));
  expect(after.entries).toHaveLength(keys.length);
  expect(after.history).toBe(history);
}, 40_000);

test("a cluster that lost its quorum says so, and is used again when it has one", async () => {
  const cluster = await started({ members: 3 });
  const registry = open(cluster.endpoints);
  const { signal } = controller;
  await registry.entries(signal);
  await Promise.all([cluster.member(2).stop(), cluster.member(3).stop()]);
  const messages: string[] = [];
  while (!messages.some((message) => message.includes("it knows no leader"))) {
    const failure = await failureOf(registry.entries(signal));
    expect(failure).toMatchObject({ reason: "unreachable" });
    messages.push(failure.message);
  }
  expect(messages.at(-1)).toContain("(no quorum); start those that are missing");
  cluster.member(2).start();
  expect((await persist(() => registry.entries(signal))).entries).toEqual([]);
}, 40_000);

/** The client in a namespace of its own, and etcd in two others, on one switch. */
function places(): { readonly client: Namespace; readonly places: readonly Place[]; readonly namespaces: Namespace[] } {
  const [hub, client, ...members] = Array.from({ length: 5 }, () => new Namespace());
  if (!hub || !client) throw new Error("no namespaces");
  cleanup.push(() => {
    for (const namespace of [hub, client, ...members]) namespace[Symbol.dispose]();
  });
  hub.run("ip link add br0 type bridge; ip link set br0 up");
  for (const [i, namespace] of [client, ...members].entries()) {
    run(`ip -n ${hub.name} link add p${i} type veth peer name eth0 netns ${namespace.name}`);
    hub.run(`ip link set p${i} master br0 up`);
    namespace.run(`ip link set lo up; ip link set eth0 up; ip address add 192.168.79.${i + 1}/24 dev eth0`);
  }
  return {
    client,
    namespaces: members,
    places: members.map(({ path }, i) => ({ namespace: path, address: `192.168.79.${i + 2}` })),
  };
}

test("a member whose packets are dropped is noticed by pings, and another one is used", async () => {
  const network = places();
  const cluster = await started({ members: 3, places: network.places, flags: FAST_PINGS });
  // The second is the one in use and then cut off; etcdctl runs where the first is.
  const [first = "", second = "", third = ""] = cluster.endpoints;
  const options = etcdOptions([second, third, first], { timing: FAST });
  const program = join(import.meta.dir, "watch.ts");
  const child = Bun.spawn(
    ["nsenter", `--net=${network.client.path}`, process.execPath, program, JSON.stringify(options)],
    { stdout: "pipe", stderr: "inherit" },
  );
  cleanup.push(async () => {
    child.kill();
    await child.exited;
  });
  const lines = linesOf(child.stdout);
  expect(await lines.next()).toBe("stands");
  cluster.ctl("put", "/coreos.com/network/subnets/10.5.1.0-24", VALUE);
  expect(await lines.next()).toBe("put 10.5.1.0-24");
  network.namespaces[1]?.run(
    'nft "add table ip t; add chain ip t i { type filter hook input priority 0; policy drop; }; ' +
      'add chain ip t o { type filter hook output priority 0; policy drop; }"',
  );
  const begun = performance.now();
  expect(await lines.next()).toContain("no answer to a ping within 0.5 s");
  // No test asserts a time; this one shows that it was the client's pings, and not TCP's own quarter of an hour.
  expect(performance.now() - begun).toBeLessThan(60_000);
  expect(await lines.next()).toBe("stands");
  cluster.ctl(`--endpoints=${first}`, "put", "/coreos.com/network/subnets/10.5.2.0-24", VALUE);
  expect(await lines.next()).toBe("put 10.5.2.0-24");
}, 60_000);

function linesOf(stream: ReadableStream<Uint8Array>) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  return {
    async next(): Promise<string> {
      while (!text.includes("\n")) {
        const { done, value } = await reader.read();
        if (done) throw new Error(`the program ended: ${text}`);
        text += decoder.decode(value, { stream: true });
      }
      const [line = "", ...rest] = text.split("\n");
      text = rest.join("\n");
      return line;
    },
  };
}

test("the defaults notice a dead member within ten seconds, and etcd takes their pings", () => {
  expect(ETCD_TIMING.pingMs).toBeGreaterThanOrEqual(5_000);
  expect(ETCD_TIMING.pingMs + ETCD_TIMING.pongMs).toBeLessThan(10_000);
});
