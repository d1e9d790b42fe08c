// A cluster's leases as an operator sees and changes them, by etcdctl, in either generation of the API.

import type { EtcdCluster, EtcdMember } from "../etcd/cluster.ts";
import { type PeerLease, peerLease } from "./store.ts";

const SUBNETS = "/coreos.com/network/subnets";
/** etcd v2 remembers the last 1,000 events, of all keys together. */
const V2_HISTORY = 1_000;

interface Answer {
  readonly kvs?: readonly unknown[];
  readonly node?: { readonly ttl?: number };
}

export class EtcdStore {
  readonly #cluster: EtcdCluster;
  readonly #api: "2" | "3";

  constructor(cluster: EtcdCluster, api: "2" | "3") {
    this.#cluster = cluster;
    this.#api = api;
  }

  /** Writes the lease of peer n, without an end; `change` replaces what it says. */
  put(n: number, change: Partial<PeerLease["value"]> = {}): void {
    const { key, value } = peerLease(n);
    this.set(key, JSON.stringify({ ...value, ...change }));
  }

  set(key: string, value: string): void {
    if (this.#api === "3") this.#cluster.ctl("put", `${SUBNETS}/${key}`, value, ...this.#endpoints);
    else this.#cluster.ctl2(...this.#endpoints, "set", `${SUBNETS}/${key}`, value);
  }

  remove(key: string): void {
    if (this.#api === "3") this.#cluster.ctl("del", `${SUBNETS}/${key}`, ...this.#endpoints);
    else this.#cluster.ctl2(...this.#endpoints, "rm", `${SUBNETS}/${key}`);
  }

  keys(): string[] {
    const text =
      this.#api === "3"
        ? this.#cluster.ctl("get", "--prefix", "--keys-only", `${SUBNETS}/`, ...this.#endpoints)
        : this.#cluster.try([...this.#endpoints, "ls", SUBNETS], "2").output;
    return text
      .split("\n")
      .filter((line) => line.startsWith(`${SUBNETS}/`))
      .map((line) => line.slice(SUBNETS.length + 1))
      .sort();
  }

  value(key: string): string {
    return this.#api === "3"
      ? this.#cluster.ctl("get", "--print-value-only", `${SUBNETS}/${key}`, ...this.#endpoints)
      : this.#cluster.ctl2(...this.#endpoints, "get", `${SUBNETS}/${key}`);
  }

  /** Seconds left; undefined for a key without an end. */
  ttl(key: string): number | undefined {
    const { kvs, node } =
      this.#api === "3"
        ? (JSON.parse(this.#cluster.ctl("get", `${SUBNETS}/${key}`, "-w", "json", ...this.#endpoints)) as Answer)
        : (JSON.parse(this.#cluster.curl(`url = "${this.#alive[0]?.url}/v2/keys${SUBNETS}/${key}"\n`)) as Answer);
    if (!kvs) return node?.ttl;
    // The number is larger than JSON's are exact.
    const text = this.#cluster.ctl("get", `${SUBNETS}/${key}`, "-w", "fields", ...this.#endpoints);
    const lease = BigInt(/"Lease" : (\d+)/.exec(text)?.[1] ?? 0);
    if (lease === 0n) return undefined;
    const left = this.#cluster.ctl("lease", "timetolive", lease.toString(16), ...this.#endpoints);
    return Number(/remaining\((\d+)s\)/.exec(left)?.[1]);
  }

  /** Ids of etcd v3's leases. */
  leases(): string[] {
    return this.#cluster
      .ctl("lease", "list", ...this.#endpoints)
      .split("\n")
      .slice(1)
      .sort();
  }

  /** Makes the store forget what happened so far: who was away has to read it again. */
  forget(): void {
    if (this.#api === "3") {
      const [{ Status }] = JSON.parse(this.#cluster.ctl("endpoint", "status", "-w", "json", ...this.#endpoints)) as [
        { Status: { header: { revision: number } } },
      ];
      this.#cluster.ctl("compact", String(Status.header.revision), ...this.#endpoints);
      return;
    }
    const [member] = this.#alive;
    const urls = Array.from(
      { length: V2_HISTORY + 100 },
      (_, i) => `url = "${member?.url}/v2/keys/elsewhere/${i % 10}"`,
    );
    this.#cluster.curl(`request = PUT\ndata = "value=x"\noutput = /dev/null\n${urls.join("\noutput = /dev/null\n")}\n`);
  }

  get #alive(): readonly EtcdMember[] {
    return this.#cluster.members.filter(({ runs }) => runs);
  }

  /** etcdctl asks those that run. */
  get #endpoints(): string[] {
    return [`--endpoints=${this.#alive.map(({ url }) => url).join(",")}`];
  }
}
