// What a registry is opened with in tests of etcd.

import { ETCD_TIMING, type EtcdOptions } from "../../src/subnet/etcd/options.ts";

export function etcdOptions(endpoints: readonly string[], changes: Partial<EtcdOptions> = {}): EtcdOptions {
  return {
    endpoints,
    discoverySrv: "",
    prefix: "/coreos.com/network",
    tls: { caFile: "", certFile: "", keyFile: "" },
    username: "",
    password: "",
    timing: ETCD_TIMING,
    ...changes,
  };
}
