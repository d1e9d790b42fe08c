// What Go flannel wrote into etcd, put into a real etcd again, is read as leases; and what this project writes in its place is the same, byte for byte where
// the generation allows it. HEAD is the authority for etcd v3, v0.7.1 for v2.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { HostFacts } from "../../src/backend/backend.ts";
import { vxlan } from "../../src/backend/vxlan.ts";
import { mapFamilies } from "../../src/ip/family.ts";
import { parseLeaseAttributes } from "../../src/lease/attributes.ts";
import { parseLeaseKey } from "../../src/lease/key.ts";
import type { LeaseSet } from "../../src/lease/set.ts";
import type { SubnetManager } from "../../src/subnet/manager.ts";
import { openRegistry } from "../../src/subnet/open.ts";
import type { Registry } from "../../src/subnet/registry.ts";
import { createSubnetManager } from "../../src/subnet/registry_manager.ts";
import { node, request } from "../store/manager_fixture.ts";
import { EtcdCluster } from "./cluster.ts";
import { etcdOptions } from "./options.ts";
import { type Api, type RecordedLease, recording, recordings, replay, stored } from "./recorded.ts";

const NEVER = new AbortController().signal;
const SETUP_MS = 30_000;
/** The node that reads what the others left. */
const READER = node("172.31.0.13");
const VXLAN = vxlan.config({ Type: "vxlan" });

/** Nothing of it is seen: MACs are known, or are this node's own. */
const ANY_BYTES = (length: number) => new Uint8Array(length).fill(2);
const ANY_KEY = () => ANY_BYTES(32);
/** v0.7.1 did not say which VNI it used; this project does in both generations, and v0.7.1 reads over it. */
const withVni = (value: string) => value.replace('{"VtepMAC"', '{"VNI":1,"VtepMAC"');

let cluster: EtcdCluster;
let prefixes = 0;

beforeAll(async () => {
  cluster = await EtcdCluster.start({ enableV2: true });
}, SETUP_MS);

afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

const newPrefix = () => `/recorded/${++prefixes}`;

async function open(api: Api, prefix: string): Promise<Registry> {
  return openRegistry({ kind: "etcd", api, etcd: etcdOptions(cluster.endpoints, { prefix }) }, NEVER);
}

/** What a recorded lease says, to be given to our own side. */
function saidBy({ key, value }: RecordedLease) {
  const [attributes, subnet] = [parseLeaseAttributes(value), parseLeaseKey(key)];
  if ("kind" in attributes || !subnet) throw new Error(`${key} was recorded as ${value}`);
  return { attributes, subnet };
}

async function acquireAsReader(manager: SubnetManager) {
  const config = await manager.networkConfig(NEVER, (reason) => {
    throw new Error(reason);
  });
  return { config, own: await manager.acquire(config, request(READER), NEVER) };
}

async function firstSet(manager: SubnetManager): Promise<LeaseSet> {
  const { config, own } = await acquireAsReader(manager);
  const networks = mapFamilies(config.ranges, ({ network }) => network);
  const end = new AbortController();
  for await (const set of manager.leaseSets({ networks, own, hostAddresses: new Set() }, end.signal)) return set;
  throw new Error("There was no set");
}

/** What etcd v2 tells whoever watches from `index` on: the actions of the next events. */
function actionsSince(index: number, count: number, prefix: string): string[] {
  return Array.from({ length: count }, (_, i) => {
    const path = `v2/keys${prefix}/subnets?recursive=true&wait=true&waitIndex=${index + i}`;
    return (JSON.parse(cluster.curl(`url = "${cluster.endpoints[0]}/${path}"\n`)) as { action: string }).action;
  });
}

test("etcd v2: events have names that v0.7.1 knows: one removed by us is deleted, not compared and deleted", async () => {
  const prefix = newPrefix();
  const [lease] = recording("2", "vxlan").leases;
  using registry = await open("2", prefix);
  const created = await registry.create("10.5.7.0-24", lease?.value ?? "", 60_000, NEVER);
  if (created === "exists") throw new Error("It exists");
  const { node } = JSON.parse(cluster.ctl2("-o", "json", "get", `${prefix}/subnets/10.5.7.0-24`));
  // Of the renewal nobody hears.
  const renewed = await registry.renew(created, 60_000, NEVER);
  if (renewed === "lost") throw new Error("It is lost");
  const replaced = await registry.replace(renewed, '{"PublicIP":"172.31.0.12"}', undefined, NEVER);
  if (replaced === "conflict") throw new Error("Somebody else wrote");
  expect(await registry.remove(replaced, NEVER)).toBe("removed");
  expect(await registry.remove(replaced, NEVER)).toBe("conflict");
  const indexes = [node.modifiedIndex, node.modifiedIndex + 1, node.modifiedIndex + 3];
  expect(indexes.flatMap((index) => actionsSince(index, 1, prefix))).toEqual(["create", "compareAndSwap", "delete"]);
});

describe.each(["3", "2"] as const)("etcd v%s", (api) => {
  describe.each(recordings(api).map((each) => [each.name, each] as const))("%s", (_name, recorded) => {
    test("entries: every key and value as it is, reserved exactly when it had no life time", async () => {
      const prefix = newPrefix();
      replay(cluster, api, recorded, prefix);
      using registry = await open(api, prefix);
      expect((await registry.config(NEVER)).text).toBe(recorded.config);
      const { entries } = await registry.entries(NEVER);
      expect(entries.map(({ key, value, reserved }) => ({ key, value, reserved }))).toEqual(
        recorded.leases.map(({ key, value, ttlSeconds }) => ({ key, value, reserved: ttlSeconds === undefined })),
      );
      for (const [i, entry] of entries.entries()) {
        const ttlSeconds = recorded.leases[i]?.ttlSeconds;
        const left = ((await registry.expiry(entry, NEVER)) ?? Number.NaN) - Date.now();
        if (ttlSeconds === undefined) expect(left).toBeNaN();
        else expect(Math.abs(left - ttlSeconds * 1_000)).toBeLessThan(60_000);
      }
    });

    test("leaseSets: every recorded lease is a peer, and none is refused", async () => {
      const prefix = newPrefix();
      replay(cluster, api, recorded, prefix);
      using manager = createSubnetManager(await open(api, prefix));
      const set = await firstSet(manager);
      expect(set.refused.size).toBe(0);
      expect(
        [...set.leases.values()].map(({ key, publicIp, backendType, backendData }) => [
          key as string,
          publicIp,
          backendType,
          backendData,
        ]),
      ).toEqual(
        recorded.leases.map((lease) => {
          const { publicIp, backendType, backendData } = saidBy(lease).attributes;
          return [lease.key, publicIp, backendType, backendData];
        }),
      );
    });
  });

  test("the vxlan backend makes of Go's leases what it makes of its own: neighbour, FDB entry and route", async () => {
    const prefix = newPrefix();
    const recorded = recording(api, "vxlan");
    replay(cluster, api, recorded, prefix);
    using manager = createSubnetManager(await open(api, prefix));
    const set = await firstSet(manager);
    const facts: HostFacts = {
      external: { name: "eth0", mtu: 1_500, address: READER.publicIp, routes: [] },
      addresses: new Set(),
      nexthopObjects: false,
      networks: {},
    };
    const { own } = await acquireAsReader(manager);
    const identity = vxlan.identity({}, ANY_BYTES, ANY_KEY);
    expect(set.leases.size).toBe(recorded.leases.length);
    for (const lease of set.leases.values()) {
      const made = vxlan.peer(VXLAN, identity, own, lease, facts);
      if (!Array.isArray(made)) throw new Error(JSON.stringify(made));
      expect(made.map(({ kind }) => kind)).toEqual(["neighbour", "fdb", "route"]);
    }
  });

  test("acquire: what this project writes as one of the recorded nodes is what that node wrote", async () => {
    const prefix = newPrefix();
    const recorded = recording(api, "vxlan");
    replay(cluster, api, { ...recorded, leases: [] }, prefix);
    const ids = new Set<string | undefined>();
    for (const lease of recorded.leases) {
      const { attributes, subnet } = saidBy(lease);
      // The backend's own data, made of nothing but the recorded MAC.
      const identity = vxlan.identity(
        vxlan.known(VXLAN, { stored: attributes.backendData, links: [], secret: undefined }),
        ANY_BYTES,
        ANY_KEY,
      );
      const backendData = vxlan.leaseData(VXLAN, identity, { ipv4: true });
      using manager = createSubnetManager(await open(api, prefix));
      const config = await manager.networkConfig(NEVER, () => {});
      await manager.acquire(config, request({ ...attributes, backendData }, subnet.ipv4 ?? ""), NEVER);
      const { leftSeconds, lease: etcdLease, ...written } = stored(cluster, api, lease.key, prefix);
      expect(written).toEqual({ ...lease, value: api === "3" ? lease.value : withVni(lease.value) });
      if (api === "3") expect(etcdLease?.keys).toBe(1);
      ids.add(etcdLease?.id);
    }
    // In v3 a lease of etcd's own for each key: one that is revoked takes no other node's subnet along.
    expect(ids.size).toBe(api === "3" ? recorded.leases.length : 1);
  });

  test("acquire: the recorded node's lease is taken over as it is, a reservation stays one", async () => {
    for (const name of ["vxlan", "reservation"]) {
      const prefix = newPrefix();
      const recorded = recording(api, name);
      replay(cluster, api, recorded, prefix);
      const lease = recorded.leases.find(({ value }) => value.includes('"172.31.0.11"'));
      if (!lease) throw new Error("The first node has no lease");
      using manager = createSubnetManager(await open(api, prefix));
      const config = await manager.networkConfig(NEVER, () => {});
      const { attributes } = saidBy(recording(api, "vxlan").leases.find(({ key }) => key === lease.key) ?? lease);
      const own = await manager.acquire(config, { attributes, previous: {} }, NEVER);
      expect(own.key as string).toBe(lease.key);
      expect(stored(cluster, api, lease.key, prefix).ttlSeconds).toBe(lease.ttlSeconds);
    }
  });
});
