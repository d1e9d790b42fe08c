// A backend is arithmetic over leases: configuration, identity and leases in, kernel objects out. It never does I/O, so the same code runs in flanneld,
// in `flannelctl plan` and in tests. To add a backend, write one file and add it to the list in backends.ts.

import type { Address } from "../ip/address.ts";
import type { Family, PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Lease, Refusal } from "../lease/lease.ts";
import type { BackendObject } from "../state/backend_object.ts";
import type { KernelObject, Link, LinkInfo } from "../state/object.ts";

/** A route of the external interface that is not ours. */
export interface HostRoute {
  readonly dst: Prefix;
  readonly gateway: Address | undefined;
}

/** What this host is, as far as a plan depends on it; kept by notifications, and a change makes a new plan. */
export interface HostFacts {
  /** The external interface: its packets carry the overlay. */
  readonly external: {
    readonly name: string;
    /** Bytes. */
    readonly mtu: number;
    /** The address chosen in each family, source of encapsulated packets. */
    readonly address: PerFamily<Address>;
    /** Its routes; one without a gateway is directly connected. */
    readonly routes: readonly HostRoute[];
  };
  /** Every address of the host, loopback and tunnels included. */
  readonly addresses: ReadonlySet<Address>;
  /** Whether the kernel has nexthop objects (Linux ≥ 5.3). */
  readonly nexthopObjects: boolean;
}

export type RandomBytes = (length: number) => Uint8Array;

/** What an identity can be known from. */
export interface IdentitySources {
  /** Backend data of the stored lease; none when it is another backend's. */
  readonly stored: PerFamily<unknown>;
  /** Links of flannel's kinds that exist. */
  readonly links: readonly Link[];
  /** Text of the secret file; undefined when there is none. */
  readonly secret: string | undefined;
}

/** C: the backend's configuration; I: this node's identity, that is what must be known before its lease is written (MAC, key). */
export interface Backend<C, I> {
  /** As in the network configuration, lower case. */
  readonly type: string;
  /** BackendType of its leases; "": none, as upstream's udp and alloc have it. */
  readonly leaseType: string;
  /** The families whose packets it carries; all by default. */
  readonly families?: readonly Family[];
  /** Options in the `Backend` object beside `Type`, as documented. */
  readonly optionNames: readonly string[];
  /** Kinds that its objects are of beside those of every network; each has a driver of its own. */
  readonly kinds?: readonly BackendObject["kind"][];
  /** Reads the `Backend` object of the network configuration, which messages call `where`. Throws ConfigError naming every fault. */
  config(raw: unknown, where?: string): C;
  /** Names of the links that are ours, existing or not. */
  linkNames(config: C): readonly string[];
  /** Whether a link looks like this backend's under some configuration: what a changed configuration leaves behind is known by it. */
  ownsLink(name: string, type: LinkInfo["type"]): boolean;
  /** A file that keeps a secret of the identity between runs, mode 0400. */
  readonly secretFile?: { path(config: C): string; text(identity: I): string };
  /** What is known of the identity: stored backend data first (peers know it), then what else there is. */
  known(config: C, sources: IdentitySources): Partial<I>;
  /** Completes the identity. */
  identity(known: Partial<I>, random: RandomBytes): I;
  /** BackendData and BackendV6Data of the own lease, for the families in use. */
  leaseData(config: C, identity: I, families: PerFamily<unknown>): PerFamily<unknown>;
  /** Bytes that pods get: the smaller of the families in use. */
  mtu(config: C, facts: HostFacts, families: PerFamily<unknown>): number;
  /** The node's own objects: device, sysctls, addresses. */
  node(config: C, identity: I, own: Lease, facts: HostFacts): Iterable<KernelObject>;
  /** All that one peer needs, or why the peer is refused. */
  peer(config: C, identity: I, own: Lease, peer: Lease, facts: HostFacts): readonly KernelObject[] | Refusal;
}
