// A lease binds a subnet to a node: which subnet, under which key, reached at which public IP by which backend. Leases come from other nodes
// through a store, so a Lease is only made by parsing (key.ts, attributes.ts) and only enters a LeaseSet after the checks there (set.ts).

import type { Address } from "../ip/address.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { LeaseKey } from "./key.ts";

/** What a node publishes about itself. */
export interface LeaseAttributes {
  /** Where peers send encapsulated packets: the underlay address, which need not be on any interface of the node. */
  readonly publicIp: PerFamily<Address>;
  /** As in the network configuration, lower case; "" when the store holds none (upstream's udp and alloc). */
  readonly backendType: string;
  /** Backend's own JSON, one value per family ("BackendData", "BackendV6Data"); unchecked here, each backend parses its own. */
  readonly backendData: PerFamily<unknown>;
}

export interface Lease extends LeaseAttributes {
  readonly key: LeaseKey;
  readonly subnet: PerFamily<Prefix>;
  /** Milliseconds since the epoch by the store's clock; undefined for a reservation, which has no TTL and never ends. */
  readonly expiresAt: number | undefined;
}

/** Why a lease takes no part: one line, for the log and the metrics. */
export interface Refusal {
  readonly kind: "refusal";
  readonly reason: string;
}

export function refusal(reason: string): Refusal {
  return { kind: "refusal", reason };
}
