// What Go flannel leaves in etcd, as it was recorded (test/fixtures/etcd): the configuration and, of each lease, key,
// value and the life time it was granted. HEAD speaks the v3 API, v0.7.1 the v2 API.

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { EtcdCluster } from "./cluster.ts";

export const PREFIX = "/coreos.com/network";
const SUBNETS = `${PREFIX}/subnets/`;
const FIXTURES = join(import.meta.dir, "../fixtures/etcd");
/** A v2 key tells what is left of its life time, up to two minutes after it was written with 86400. */
const V2_TTL_SECONDS = 86_400;
const V2_READ_WITHIN_SECONDS = 120;

export type Api = "2" | "3";

export interface RecordedLease {
  /** Below `<prefix>/subnets/`. */
  readonly key: string;
  readonly value: string;
  /** undefined for a key without an end. */
  readonly ttlSeconds: number | undefined;
}

export interface Recording {
  /** The file's name: "vxlan". */
  readonly name: string;
  readonly program: string;
  readonly config: string;
  readonly leases: readonly RecordedLease[];
}

interface Fixture {
  readonly program: string;
  readonly answer: Answer2 & Answer3;
}

/** `etcdctl get --prefix -w json` with each lease's `timetolive`. */
interface Answer3 {
  readonly kvs: readonly {
    readonly key: string;
    readonly value: string;
    readonly timetolive?: { readonly "granted-ttl": number };
  }[];
}

/** `GET /v2/keys/…?recursive=true`. */
interface Answer2 {
  readonly node: Node2;
}

interface Node2 {
  readonly key: string;
  readonly value?: string;
  readonly ttl?: number;
  readonly nodes?: readonly Node2[];
}

/** All recordings of one generation. */
export function recordings(api: Api): readonly Recording[] {
  const directory = join(FIXTURES, `v${api}`);
  return readdirSync(directory)
    .sort()
    .map((file) => {
      const { program, answer } = JSON.parse(readFileSync(join(directory, file), "utf8")) as Fixture;
      const all = api === "3" ? leases3(answer) : leases2(answer.node);
      const config = all.find(({ key }) => key === `${PREFIX}/config`);
      if (!config) throw new Error(`${file} has no config`);
      const leases = all
        .filter(({ key }) => key.startsWith(SUBNETS))
        .map((lease) => ({ ...lease, key: lease.key.slice(SUBNETS.length) }));
      return { name: basename(file, ".json"), program, config: config.value, leases };
    });
}

export function recording(api: Api, name: string): Recording {
  const found = recordings(api).find((each) => each.name === name);
  if (!found) throw new RangeError(`There is no recording ${name} of etcd v${api}`);
  return found;
}

function leases3({ kvs }: Answer3): RecordedLease[] {
  return kvs.map(({ key, value, timetolive }) => ({ key, value, ttlSeconds: timetolive?.["granted-ttl"] }));
}

function leases2({ key, value, ttl, nodes = [] }: Node2): RecordedLease[] {
  return value === undefined ? nodes.flatMap(leases2) : [{ key, value, ttlSeconds: granted2(ttl) }];
}

/** The life time a key was given, by what is left of it. */
function granted2(ttl: number | undefined): number | undefined {
  return ttl !== undefined && ttl > V2_TTL_SECONDS - V2_READ_WITHIN_SECONDS ? V2_TTL_SECONDS : ttl;
}

/** Writes a recording into a cluster, as its program did: configuration, and keys with their life times. */
export function replay(cluster: EtcdCluster, api: Api, { config, leases }: Recording, prefix = PREFIX): void {
  if (api === "2") {
    cluster.ctl2("set", `${prefix}/config`, config);
    for (const { key, value, ttlSeconds } of leases) {
      const ttl = ttlSeconds === undefined ? [] : ["--ttl", String(ttlSeconds)];
      cluster.ctl2("set", ...ttl, `${prefix}/subnets/${key}`, value);
    }
    return;
  }
  cluster.ctl("put", `${prefix}/config`, config);
  for (const { key, value, ttlSeconds } of leases) {
    const lease = ttlSeconds === undefined ? [] : [`--lease=${grant(cluster, ttlSeconds)}`];
    cluster.ctl("put", ...lease, `${prefix}/subnets/${key}`, value);
  }
}

/** A new etcd lease's id, in hexadecimal digits. */
function grant(cluster: EtcdCluster, ttlSeconds: number): string {
  const [, id] = /^lease ([0-9a-f]+) granted/.exec(cluster.ctl("lease", "grant", String(ttlSeconds))) ?? [];
  if (id === undefined) throw new Error("etcdctl granted no lease");
  return id;
}

export interface StoredKey extends RecordedLease {
  /** What is left of `ttlSeconds`. */
  readonly leftSeconds: number | undefined;
  /** v3: the etcd lease and how many keys hang on it. */
  readonly lease?: { readonly id: string; readonly keys: number };
}

/** A lease's key as a cluster has it now. */
export function stored(cluster: EtcdCluster, api: Api, key: string, prefix = PREFIX): StoredKey {
  const path = `${prefix}/subnets/${key}`;
  if (api === "2") {
    const { node } = JSON.parse(cluster.ctl2("-o", "json", "get", path)) as Answer2;
    const [{ value, ttlSeconds } = { value: "", ttlSeconds: undefined }] = leases2(node);
    return { key, value, ttlSeconds, leftSeconds: node.ttl };
  }
  // A lease's id has 64 bits, too many for a number of JSON.
  const id = BigInt(/"Lease" : (\d+)/.exec(cluster.ctl("get", path, "-w", "fields"))?.[1] ?? 0).toString(16);
  const value = cluster.ctl("get", path, "--print-value-only");
  if (id === "0") return { key, value, ttlSeconds: undefined, leftSeconds: undefined };
  type Left = { readonly ttl: number; readonly "granted-ttl": number; readonly keys: readonly string[] };
  const left = JSON.parse(cluster.ctl("lease", "timetolive", id, "--keys", "-w", "json")) as Left;
  return {
    key,
    value,
    ttlSeconds: left["granted-ttl"],
    leftSeconds: left.ttl,
    lease: { id, keys: left.keys.length },
  };
}
