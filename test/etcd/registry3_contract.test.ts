// The registry contract on a real etcd with the v3 API; each store is a prefix of its own.

import { afterAll, beforeAll } from "bun:test";
import { Etcd3Registry } from "../../src/subnet/etcd/registry3.ts";
import { registryContract } from "../store/registry_contract.ts";
import { EtcdCluster } from "./cluster.ts";
import { etcdOptions } from "./options.ts";

let cluster: EtcdCluster;

beforeAll(async () => {
  // The shortest TTL that etcd gives is made of its election timeout.
  cluster = await EtcdCluster.start({ flags: ["--heartbeat-interval=50", "--election-timeout=500"] });
}, 30_000);

afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

registryContract(
  "etcd v3",
  async (store) => new Etcd3Registry(etcdOptions(cluster.endpoints, { prefix: `/test/${store}` })),
  1_000,
  false,
);
