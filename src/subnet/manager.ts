// A subnet manager answers three questions for one node: what is the network, which subnet is mine, who else is there. One implementation
// (over a Registry) serves the embedded store and etcd; Kubernetes has its own.

import type { NetworkConfig } from "../config/network.ts";
import type { Address } from "../ip/address.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Lease, LeaseAttributes } from "../lease/lease.ts";
import type { LeaseSet, LeaseSetContext } from "../lease/set.ts";

/** What the store still knows of this node; {} if nothing. */
export interface Remembered {
  readonly publicIp?: PerFamily<Address>;
  readonly backendType?: string;
  readonly backendData?: PerFamily<unknown>;
}

export interface LeaseRequest {
  readonly attributes: LeaseAttributes;
  /** The subnet held before (from subnet.env), tried first when it is valid and free. */
  readonly previous: PerFamily<Prefix>;
}

export interface SubnetManager {
  /** For status.json. */
  readonly kind: string;
  /** For messages: "embedded store /var/lib/flannel/store.db". */
  readonly description: string;
  /** Waits until there is one, saying once through `onWait` that the store has none; throws ConfigError when it is there and wrong. */
  networkConfig(signal: AbortSignal, onWait: (reason: string) => void): Promise<NetworkConfig>;
  /** Public IPs that the store says this node has; {} where nobody said. */
  wishedPublicIp(signal: AbortSignal): Promise<PerFamily<Address>>;
  /** The same while the lease is kept: what it says now and then each change, or what is wrong with what it says. Where nobody can say, there is no such method. */
  wishedPublicIps?(signal: AbortSignal): AsyncIterable<PerFamily<Address> | string>;
  /** What is stored for the node with one of these public IPs. */
  remembered(publicIp: PerFamily<Address>, signal: AbortSignal): Promise<Remembered>;
  /**
   * Idempotent: called again with changed attributes it updates the same lease in place by compare-and-swap and keeps the subnet. Throws StoreError
   * with reason "full" when no subnet is free.
   */
  acquire(config: NetworkConfig, request: LeaseRequest, signal: AbortSignal): Promise<Lease>;
  /** Whole sets, own lease excluded; the first item only when complete. Ends when `signal` aborts; an unreachable store is silence, never an empty set; one that lost its data is not believed at once. */
  leaseSets(context: LeaseSetContext, signal: AbortSignal): AsyncIterable<LeaseSet>;
  /** After the node's own network stands: tells the store where that is of use. */
  ready(own: Lease, signal: AbortSignal): Promise<void>;
  /** Renews until the lease is lost (someone else has the key, or it is gone) or `signal` aborts. */
  keep(own: Lease, signal: AbortSignal): Promise<"lost" | "stopped">;
  [Symbol.dispose](): void;
}
