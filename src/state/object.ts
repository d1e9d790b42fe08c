// The kernel objects that flannel makes, as plain values: what a backend wants and what the kernel has are written in the same words, so that comparing
// them is comparing fields. Objects name their device; indexes and nexthop ids are the kernel driver's business.
//
// Neighbour and FDB entry are often confused. One packet to a pod on a peer: the route 10.5.2.0/24 names the gateway 10.5.2.0 on flannel.1; the *neighbour*
// says which (inner) MAC that gateway has, IP → MAC; the *FDB entry* says at which (outer) node that MAC lives, MAC → public IP; vxlan wraps and sends.

import type { RuleSet } from "../firewall/rule.ts";
import type { Address } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";
import type { Mac } from "../ip/mac.ts";
import type { Prefix } from "../ip/prefix.ts";
import { type BackendObject, NODE_EFFECT } from "./backend_object.ts";

/** What `ip -d link show` calls the kind of a link, with the options that flannel sets. */
export interface VxlanInfo {
  readonly type: "vxlan";
  readonly vni: number;
  /** Device that carries the encapsulated packets (`dev eth0`). */
  readonly parent: string;
  /** Source of the encapsulated packets; an existing device may leave it to the kernel. */
  readonly local: Address | undefined;
  /** UDP port, both ends. */
  readonly port: number;
  readonly learning: boolean;
  /** Group policy extension (VXLAN-GBP, draft-smith-vxlan-group-policy). */
  readonly gbp: boolean;
  /** Multicast group for unknown destinations, and messages for unknown MACs: never wanted, but an existing device may have them. */
  readonly group: Address | undefined;
  readonly l2miss: boolean;
}

/** A TUN device, made persistent: it outlives the packet loop that has it open, so that addresses and routes stand through a restart. */
export interface TunInfo {
  readonly type: "tun";
}

/**
 * An IP-in-IP device (RFC 2003) with any remote: the gateway of a route says where its packets go, and the host's own routes by which device. A parent would
 * bind them to one, and a remote to one peer: never wanted, but an existing device may have them.
 */
export interface IpipInfo {
  readonly type: "ipip";
  readonly parent: string | undefined;
  /** Source of the encapsulated packets; what comes for another address is not this device's. */
  readonly local: Address | undefined;
  readonly remote: Address | undefined;
}

/** A WireGuard device; its key and port are an object of their own, told to another part of the kernel. */
export interface WireguardInfo {
  readonly type: "wireguard";
}

export type LinkInfo = VxlanInfo | TunInfo | IpipInfo | WireguardInfo;

export interface Link {
  readonly kind: "link";
  readonly name: string;
  /** undefined for devices without Ethernet frames. */
  readonly mac: Mac | undefined;
  /** Bytes of the largest inner packet. */
  readonly mtu: number;
  readonly info: LinkInfo;
}

/** That a device is set up; of its own, because sysctls go between making a device and setting it up. */
export interface Up {
  readonly kind: "up";
  readonly dev: string;
}

/** A sysctl of one device; `path` is relative to /proc/sys. */
export interface Sysctl {
  readonly kind: "sysctl";
  readonly dev: string;
  readonly path: string;
  readonly value: string;
}

export interface InterfaceAddress {
  readonly kind: "address";
  readonly dev: string;
  readonly address: Prefix;
}

/** A permanent neighbour: IP → MAC on a device. */
export interface Neighbour {
  readonly kind: "neighbour";
  readonly dev: string;
  readonly address: Address;
  readonly mac: Mac;
}

/** A permanent forwarding entry of a vxlan device: MAC → underlay address. */
export interface FdbEntry {
  readonly kind: "fdb";
  readonly dev: string;
  readonly mac: Mac;
  readonly dst: Address;
}

/** A nexthop object (Linux ≥ 5.3); its id is chosen when it is made. */
export interface Nexthop {
  readonly kind: "nexthop";
  readonly dev: string;
  readonly gateway: Address;
  readonly onlink: boolean;
}

/** A unicast route of the main table. */
export interface Route {
  readonly kind: "route";
  readonly dst: Prefix;
  readonly dev: string;
  readonly gateway: Address | undefined;
  readonly onlink: boolean;
  /** "object": through the nexthop object of the same device and gateway; "plain": the gateway stands in the route. */
  readonly form: "object" | "plain";
}

/** A route that drops what no better one leads anywhere: any other to the same destination goes before it, by its metric. */
export interface Blackhole {
  readonly kind: "blackhole";
  readonly dst: Prefix;
}

/** What rtnetlink(7) and /proc/sys make. */
export type NetworkObject = Link | Up | Sysctl | InterfaceAddress | Neighbour | FdbEntry | Nexthop | Route | Blackhole;

export type KernelObject = NetworkObject | BackendObject | RuleSet;
export type ObjectKind = KernelObject["kind"];

const NETWORK_KINDS: ReadonlySet<ObjectKind> = new Set([
  "link",
  "up",
  "sysctl",
  "address",
  "neighbour",
  "fdb",
  "nexthop",
  "route",
  "blackhole",
] satisfies NetworkObject["kind"][]);

export function isNetworkObject(object: KernelObject): object is NetworkObject {
  return NETWORK_KINDS.has(object.kind);
}

export function isRuleSet(object: KernelObject): object is RuleSet {
  return object.kind === "nftables" || object.kind === "iptables";
}

/** Text that tells objects of one kernel apart; two objects of one key cannot exist side by side. */
export type ObjectKey = string & { readonly __brand: "ObjectKey" };

/** The key of each kind from the fields that make it. */
export const objectKey = {
  link: (name: string) => `link ${name}` as ObjectKey,
  up: (dev: string) => `up ${dev}` as ObjectKey,
  sysctl: (path: string) => `sysctl ${path}` as ObjectKey,
  address: (address: Prefix, dev: string) => `address ${address} dev ${dev}` as ObjectKey,
  neighbour: (address: Address, dev: string) => `neighbour ${address} dev ${dev}` as ObjectKey,
  fdb: (mac: Mac, dev: string) => `fdb ${mac} dev ${dev}` as ObjectKey,
  nexthop: (gateway: Address, dev: string) => `nexthop ${gateway} dev ${dev}` as ObjectKey,
  route: (dst: Prefix) => `route ${dst}` as ObjectKey,
  blackhole: (dst: Prefix) => `blackhole ${dst}` as ObjectKey,
  wgdevice: (dev: string) => `wgdevice ${dev}` as ObjectKey,
  wgpeer: (publicKey: string, dev: string) => `wgpeer ${publicKey} dev ${dev}` as ObjectKey,
  wgallowed: (prefix: Prefix, dev: string) => `wgallowed ${prefix} dev ${dev}` as ObjectKey,
  packetloop: (dev: string) => `packetloop ${dev}` as ObjectKey,
  looppeer: (subnet: Prefix, dev: string) => `looppeer ${subnet} dev ${dev}` as ObjectKey,
  xfrmpolicy: (direction: string, src: Prefix, dst: Prefix) => `xfrmpolicy ${direction} ${src} ${dst}` as ObjectKey,
  ikedaemon: () => "ikedaemon charon" as ObjectKey,
  ike: (name: string) => `ike ${name}` as ObjectKey,
  command: (name: string) => `command ${name}` as ObjectKey,
  rules: (tool: RuleSet["kind"], family: Family) => `${tool} ${family}` as ObjectKey,
};

export function keyOf(object: KernelObject): ObjectKey {
  switch (object.kind) {
    case "link":
      return objectKey.link(object.name);
    case "up":
      return objectKey.up(object.dev);
    case "sysctl":
      return objectKey.sysctl(object.path);
    case "address":
      return objectKey.address(object.address, object.dev);
    case "neighbour":
      return objectKey.neighbour(object.address, object.dev);
    case "fdb":
      return objectKey.fdb(object.mac, object.dev);
    case "nexthop":
      return objectKey.nexthop(object.gateway, object.dev);
    case "route":
      return objectKey.route(object.dst);
    case "blackhole":
      return objectKey.blackhole(object.dst);
    case "wgdevice":
      return objectKey.wgdevice(object.dev);
    case "wgpeer":
      return objectKey.wgpeer(object.publicKey, object.dev);
    case "wgallowed":
      return objectKey.wgallowed(object.prefix, object.dev);
    case "packetloop":
      return objectKey.packetloop(object.dev);
    case "looppeer":
      return objectKey.looppeer(object.subnet, object.dev);
    case "xfrmpolicy":
      return objectKey.xfrmpolicy(object.direction, object.src, object.dst);
    case "ikedaemon":
      return objectKey.ikedaemon();
    case "ike":
      return objectKey.ike(object.name);
    case "command":
      return objectKey.command(object.name);
    case "nftables":
    case "iptables":
      return objectKey.rules(object.kind, object.family);
  }
}

/** The kind that a key is of. */
export function kindOf(key: ObjectKey): ObjectKind {
  return key.slice(0, key.indexOf(" ")) as ObjectKind;
}

/**
 * The order of making (Invariant 3): each kind needs only kinds before it. Deletion goes the other way.
 * A device needs its sysctls before it is up (accept_ra); a route through a neighbour not yet known would make the kernel ask the wire for it. Commands are
 * somebody else's and may take their time: nothing waits for them.
 */
export const KIND_ORDER: readonly ObjectKind[] = [
  "link",
  "sysctl",
  "wgdevice",
  "up",
  "address",
  "neighbour",
  "fdb",
  "wgpeer",
  "wgallowed",
  "packetloop",
  "looppeer",
  "nexthop",
  "xfrmpolicy",
  "ikedaemon",
  "ike",
  "route",
  "blackhole",
  "nftables",
  "iptables",
  "command",
];

/** The key of what must stand before `object` can; undefined when it needs nothing of ours. */
export function dependencyOf(object: KernelObject): ObjectKey | undefined {
  switch (object.kind) {
    case "link":
    case "blackhole":
    case "xfrmpolicy":
    case "ikedaemon":
    case "nftables":
    case "iptables":
      return undefined; // policies and rules name networks, not devices
    case "command":
      return object.name === NODE_EFFECT ? undefined : objectKey.command(NODE_EFFECT);
    case "sysctl":
    case "wgdevice":
    case "up":
      return objectKey.link(object.dev);
    case "wgpeer":
      return objectKey.wgdevice(object.dev);
    case "wgallowed":
      return objectKey.wgpeer(object.publicKey, object.dev);
    case "looppeer":
      return objectKey.packetloop(object.dev);
    case "ike":
      return objectKey.ikedaemon();
    case "address":
    case "neighbour":
    case "fdb":
    case "packetloop":
    case "nexthop":
      return objectKey.up(object.dev);
    case "route":
      return object.form === "object" && object.gateway
        ? objectKey.nexthop(object.gateway, object.dev)
        : objectKey.up(object.dev);
  }
}

/** Whether two objects of one key say the same. */
export function sameObject(a: KernelObject, b: KernelObject): boolean {
  return a === b || differences(a, b).length === 0;
}

/** Names of the fields in which two objects of one kind differ; a vxlan's options by their own names. */
export function differences(desired: KernelObject, actual: KernelObject): string[] {
  const names: string[] = [];
  const compare = (a: object, b: object) => {
    if (Array.isArray(a) && Array.isArray(b) && a.length !== b.length) names.push("length");
    for (const [name, value] of Object.entries(a)) {
      const other = (b as Record<string, unknown>)[name];
      if (typeof value === "object" && value !== null && typeof other === "object" && other !== null)
        compare(value, other);
      else if (value !== other) names.push(name);
    }
  };
  compare(desired, actual);
  return names;
}

/** What of a link can be changed while it stands; any other difference means deleting it and making it anew. */
const CHANGEABLE = new Set(["mac", "mtu", "learning"]);

export function mustRecreate(desired: Link, actual: Link): boolean {
  return differences(desired, actual).some((name) => !CHANGEABLE.has(name));
}
