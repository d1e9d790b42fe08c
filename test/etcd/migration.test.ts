// `flannelctl migrate` between the two generations of one real etcd, with nodes on both, while it is killed and started again.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { ETCD_TIMING } from "../../src/subnet/etcd/options.ts";
import { Etcd2Registry } from "../../src/subnet/etcd/registry2.ts";
import { Etcd3Registry } from "../../src/subnet/etcd/registry3.ts";
import type { Registry } from "../../src/subnet/registry.ts";
import { createSubnetManager } from "../../src/subnet/registry_manager.ts";
import { flannelctl, runningFlannelctl } from "../ctl/flannelctl.ts";
import { config, node, request } from "../store/manager_fixture.ts";
import { EtcdCluster } from "./cluster.ts";

const PREFIX = "/kubernetes/network";
const CONFIG = '{"Network":"172.30.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
/** As v0.7.1 writes it: no PublicIPv6, no VNI. */
const OLD = '{"PublicIP":"192.0.2.9","BackendType":"vxlan","BackendData":{"VtepMAC":"5e:00:00:00:00:09"}}';

let cluster: EtcdCluster;
let v2: Registry;
let v3: Registry;
let controller: AbortController;
let running: Bun.Subprocess | undefined;

beforeEach(async () => {
  cluster = await EtcdCluster.start({ enableV2: true });
  controller = new AbortController();
  const options = {
    ...{ endpoints: cluster.endpoints, discoverySrv: "", prefix: PREFIX, username: "", password: "" },
    ...{ tls: { caFile: "", certFile: "", keyFile: "" }, timing: ETCD_TIMING },
  };
  [v2, v3] = [new Etcd2Registry(options), new Etcd3Registry(options)];
});

afterEach(async () => {
  controller.abort();
  for (const registry of [v2, v3]) registry[Symbol.dispose]();
  running?.kill("SIGKILL");
  await running?.exited;
  await cluster[Symbol.asyncDispose]();
});

function words(...more: string[]): string[] {
  const store = [`--etcd-endpoints=${cluster.endpoints.join(",")}`, `--etcd-prefix=${PREFIX}`];
  return ["migrate", "--from", "etcd2", "--to", "etcd3", ...store, ...more];
}

async function acquire(on: Registry, n: number): Promise<string> {
  return (await createSubnetManager(on).acquire(config(CONFIG), request(node(`192.0.2.${n}`)), controller.signal)).key;
}

async function content(of: Registry): Promise<string[]> {
  const { entries } = await of.entries(controller.signal);
  return entries.map(({ key, value, reserved }) => `${key} ${value} ${reserved}`).sort();
}

/** Waits until both sides hold the same, `count` leases. */
async function inStep(count: number): Promise<void> {
  for (;;) {
    const [old, next] = [await content(v2), await content(v3)];
    if (old.length === count && Bun.deepEquals(old, next)) return;
    await Bun.sleep(20);
  }
}

async function left(of: Registry, key: string): Promise<number> {
  const { entry } = await of.entry(key, controller.signal);
  const end = entry && (await of.expiry(entry, controller.signal));
  return ((end ?? 0) - Date.now()) / 1000;
}

test("a network moves from etcd v2 to v3 node by node, and every node sees all others all the while", async () => {
  cluster.ctl2("set", `${PREFIX}/config`, CONFIG);
  cluster.ctl2("set", "--ttl", "86400", `${PREFIX}/subnets/172.30.9.0-24`, OLD);
  cluster.ctl2("set", `${PREFIX}/subnets/172.30.200.0-24`, OLD.replace("2.9", "2.200"));
  const keys = new Map<number, string>();
  for (const n of [1, 2, 3]) keys.set(n, await acquire(v2, n));

  running = runningFlannelctl(words("--json"), `${cluster.directory}/migrate.log`);
  for await (const { text } of v3.watchConfig((await v3.config(controller.signal)).revision, controller.signal)) {
    expect(text).toBe(CONFIG);
    break;
  }
  // The configuration came last.
  expect(await content(v3)).toEqual(await content(v2));
  expect(cluster.ctl("get", `${PREFIX}/subnets/172.30.9.0-24`, "--print-value-only")).toBe(OLD);
  expect(await left(v3, "172.30.200.0-24")).toBeLessThan(0); // reserved
  expect(await left(v3, "172.30.9.0-24")).toBeWithin(86_000, 86_345);

  keys.set(4, await acquire(v3, 4));
  keys.set(5, await acquire(v2, 5));
  await inStep(7);

  running.kill("SIGKILL");
  await running.exited;
  // Meanwhile a node moves and finds its own lease, one comes, and one goes.
  expect(await acquire(v3, 2)).toBe(keys.get(2) ?? "");
  keys.set(6, await acquire(v2, 6));
  running = runningFlannelctl(words("--json"), `${cluster.directory}/migrate.log`);
  await inStep(8);
  cluster.ctl2("rm", `${PREFIX}/subnets/${keys.get(5)}`);
  await inStep(7);
  // The moved node lives on v3 now: what v2 has of it follows.
  expect(await left(v2, keys.get(2) ?? "")).toBeWithin(86_000, 86_345);

  const early = await flannelctl(words("--finish"));
  expect(early.code).toBe(1);
  expect(early.err).toContain(`192.0.2.1 (${keys.get(1)}) still renews its lease in etcd v2`);
  expect(early.err).not.toContain("192.0.2.2 ");
  for (const n of [1, 3, 6]) expect(await acquire(v3, n)).toBe(keys.get(n) ?? "");
  const old = await v3.entry("172.30.9.0-24", controller.signal);
  if (old.entry) await v3.replace(old.entry, `${OLD} `, 86_400_000, controller.signal);
  await inStep(7);
  expect((await flannelctl(words("--verify"))).code).toBe(0);
  const finished = await flannelctl(words("--finish"));
  expect([finished.code, finished.err]).toEqual([0, ""]);
  const removal = /ETCDCTL_API=2 etcdctl --endpoints=\S+ (rm --recursive \S+)/.exec(finished.out)?.[1] ?? "";
  const before = await content(v3);
  // Even if the old side is taken away under a migration that still runs, the new one keeps all.
  cluster.ctl2(...removal.split(" "));
  expect(await running.exited).toBe(1);
  expect(await content(v3)).toEqual(before);
  expect(await content(v2)).toEqual([]);
});

test("a migration goes on when etcd comes back, and takes its silence for nothing", async () => {
  cluster.ctl2("set", `${PREFIX}/config`, CONFIG);
  const first = await acquire(v2, 1);
  const log = `${cluster.directory}/migrate.log`;
  running = runningFlannelctl(words("--json"), log);
  await inStep(1);
  const told = async (text: string) => {
    while (!(await Bun.file(log).text()).includes(text)) await Bun.sleep(20);
  };
  await told('"in step"');
  await cluster.member(1).stop();
  await told('"failing"');
  cluster.member(1).start();
  await cluster.healthy();
  const second = await acquire(v2, 2);
  await inStep(2);
  expect((await content(v3)).map((line) => line.split(" ")[0])).toEqual([first, second].sort());
  expect(await Bun.file(log).text()).not.toContain('"remove"');
});

test("migrate: etcd without its v2 API, and two configurations that differ, are told", async () => {
  cluster.ctl2("set", `${PREFIX}/config`, CONFIG);
  cluster.ctl("put", `${PREFIX}/config`, '{"Network":"10.5.0.0/16"}');
  expect(await flannelctl(words())).toMatchObject({ code: 1, err: expect.stringContaining("hold different ones") });
  await using plain = await EtcdCluster.start();
  const refused = await flannelctl(words(`--from-etcd-endpoints=${plain.endpoints.join(",")}`));
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("--enable-v2")]);
});
