// The writer of bench/etcd.ts, in the namespace of its etcd: a process of its own, since a connection belongs to the namespace in which it is made. Its client
// is flanneld's, with one warm connection. Orders come and answers go by the pipe to its parent.
//
//   bun etcd_writer.ts URL 3|2

import { openRegistry } from "../src/subnet/open.ts";
import { etcdOptions } from "../test/etcd/options.ts";
import { now } from "./counts.ts";
import { changePeer, leaseKey, leaseValue, NETWORK_CONFIG, putPeer, removePeer } from "./leases.ts";

export type Order =
  | { readonly verb: "configure" }
  /** Leases, each with an etcd lease of its own, as nodes write them; so many at a time. */
  | { readonly verb: "fill"; readonly from: number; readonly count: number; readonly parallel: number }
  /** One put, without a lease. */
  | { readonly verb: "put" | "change" | "remove"; readonly peer: number }
  /** Puts one after the other. */
  | { readonly verb: "burst"; readonly from: number; readonly count: number }
  | { readonly verb: "clear"; readonly from: number; readonly count: number };

/** Milliseconds by `now()`. */
export interface Done {
  readonly called: number;
  readonly returned: number;
}

const [url = "", generation] = process.argv.slice(2);
const { signal } = new AbortController();
const api = generation === "2" ? "2" : "3";
const registry = await openRegistry({ kind: "etcd", api, etcd: etcdOptions([url]) }, signal);

async function follow(order: Order): Promise<void> {
  switch (order.verb) {
    case "configure":
      return await registry.setConfig(NETWORK_CONFIG, signal);
    case "fill": {
      const peers = Array.from({ length: order.count }, (_, i) => order.from + i);
      const worker = async () => {
        for (let peer = peers.pop(); peer !== undefined; peer = peers.pop()) await putPeer(registry, peer, signal);
      };
      await Promise.all(Array.from({ length: order.parallel }, worker));
      return;
    }
    case "put":
      return await put(order.peer);
    case "change":
      return await changePeer(registry, order.peer, 2, signal);
    case "remove":
      return await removePeer(registry, order.peer, signal);
    case "burst":
      for (let peer = order.from; peer < order.from + order.count; peer++) await put(peer);
      return;
    case "clear":
      for (let peer = order.from; peer < order.from + order.count; peer++) await removePeer(registry, peer, signal);
      return;
  }
}

async function put(peer: number): Promise<void> {
  const entry = await registry.create(leaseKey(peer), leaseValue(peer), undefined, signal);
  if (entry === "exists") throw new Error(`peer ${peer} exists`);
}

process.on("message", (order: Order) => {
  void (async () => {
    const called = now();
    await follow(order);
    process.send?.({ called, returned: now() } satisfies Done);
  })();
});
process.on("disconnect", () => process.exit(0));
process.send?.("ready");
