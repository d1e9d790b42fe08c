// The registry contract on a real etcd with its v2 API.

import { afterAll, beforeAll } from "bun:test";
import { Etcd2Registry } from "../../src/subnet/etcd/registry2.ts";
import { registryContract } from "../store/registry_contract.ts";
import { EtcdCluster } from "./cluster.ts";
import { etcdOptions } from "./options.ts";

let cluster: EtcdCluster | undefined;
beforeAll(async () => {
  cluster = await EtcdCluster.start({ enableV2: true });
}, 30_000);
afterAll(() => cluster?.[Symbol.asyncDispose]());

registryContract(
  "etcd v2",
  async (store) => new Etcd2Registry(etcdOptions(cluster?.endpoints ?? [], { prefix: `/${store}/network` })),
  // It counts whole seconds, and looks for what expired twice a second.
  2_000,
  false,
);
