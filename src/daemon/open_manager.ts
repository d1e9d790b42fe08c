// The subnet manager that the flags name, with its events in the log.

import { ConfigError } from "../config/fault.ts";
import type { Options } from "../config/flags.ts";
import { ETCD_TIMING } from "../subnet/etcd/options.ts";
import type { SubnetManager } from "../subnet/manager.ts";
import { openRegistry, type StoreChoice } from "../subnet/open.ts";
import { createSubnetManager } from "../subnet/registry_manager.ts";
import type { SubnetEvent } from "../subnet/store_retry.ts";
import type { Log } from "./log.ts";
import type { StatusFile } from "./status_file.ts";

/** Kubernetes is no store of keys: kubectl shows and changes what a lease is there. */
export function refuseKubernetes(): never {
  const want =
    "the embedded store or etcd; in Kubernetes a lease is a Node's pod CIDRs and annotations (flannelctl subnets ls, kubectl get nodes -o yaml), and the configuration is the file " +
    "of --net-config-path (the ConfigMap kube-flannel-cfg)";
  throw new ConfigError([{ where: "--kube-subnet-mgr", got: "true", want }]);
}

/** The store that the flags name: a file, else etcd. Throws ConfigError for Kubernetes. */
export function storeChoice(options: Options): StoreChoice {
  if (options.kubeSubnetMgr) refuseKubernetes();
  if (options.storeFile !== "") return { kind: "embedded", path: options.storeFile };
  const { etcdEndpoints: endpoints, etcdDiscoverySrv: discoverySrv, etcdPrefix, etcdApi: api } = options;
  const tls = { caFile: options.etcdCafile, certFile: options.etcdCertfile, keyFile: options.etcdKeyfile };
  const { etcdUsername: username, etcdPassword: password } = options;
  const prefix = etcdPrefix.replace(/\/+$/, "");
  return { kind: "etcd", api, etcd: { endpoints, discoverySrv, prefix, tls, username, password, timing: ETCD_TIMING } };
}

export async function openManager(
  options: Options,
  log: Log,
  status: StatusFile,
  signal: AbortSignal,
): Promise<SubnetManager> {
  const onEvent = (kind: string) => (event: SubnetEvent) => {
    const started = status.status.phase !== "config";
    logEvent(log, event, started);
    if (event.kind === "waiting") status.set({ phase: status.status.phase, cause: event.reason });
    if (event.kind === "store failing" && !started) status.set({ phase: "config", cause: event.error.message });
    if (event.kind === "store failing") setStore(status, kind, false);
    if (event.kind === "store recovered") setStore(status, kind, true);
  };
  if (options.kubeSubnetMgr) {
    const { openKubernetes } = await import("./open_kubernetes.ts");
    return await openKubernetes(options, onEvent("kubernetes"), signal);
  }
  const registry = await openRegistry(storeChoice(options), signal);
  const ttlMs = options.leaseTtl * 1_000;
  const marginMs = options.subnetLeaseRenewMargin * 60_000;
  return createSubnetManager(registry, {
    ttlMs,
    lossGraceMs: options.storeLossGrace * 1_000,
    renewMarginMs: Math.min(marginMs, ttlMs / 2), // a lifetime of seconds is renewed at its half
    onEvent: onEvent(registry.kind),
  });
}

export function setStore(status: StatusFile, kind: string, reachable: boolean): void {
  if (status.status.store?.kind === kind && status.status.store.reachable === reachable) return;
  status.set({ store: { kind, reachable, since: new Date().toISOString() } });
}

/** `started`: there is something that stays as it is. */
function logEvent(log: Log, event: SubnetEvent, started: boolean): void {
  switch (event.kind) {
    case "store failing":
      log.error(`${event.error.message}; ${started ? "what was read before stays in force, " : ""}trying again`);
      return;
    case "store recovered":
      log.info(`the store answers again, after ${event.failures} failed tries`);
      return;
    case "contended":
      log.info(`the subnet ${event.key} was taken by another node in this moment; choosing another`);
      return;
    case "unfit lease":
      log.warn(
        `the lease ${event.key} of this node does not fit the network configuration: ${event.removed ? "removed" : "it is a reservation and stays"}; choosing another subnet`,
      );
      return;
    case "data lost":
      log.error(
        `the store has lost its data (it is another cluster, or an older state): ${event.missing} leases are missing; they stay in ` +
          `force until their nodes have written them again, for ${event.graceMs / 1_000} s at most`,
      );
      return;
    case "given up":
      log.warn(`leases that the store lost were not written again: ${event.keys.join(", ")}; they no longer hold`);
      return;
    case "renewed":
      log.info(`Lease renewed: ${event.key}`);
      return;
    case "waiting":
      log.warn(`waiting: ${event.reason}`);
      return;
    case "restored":
      log.warn(`somebody changed ${event.what}: written again`);
      return;
  }
}
