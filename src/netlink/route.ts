// Routes (linux/rtnetlink.h); `ip route`. What one route says stands in two places of the message, the fixed header and
// the attributes: a table above 255 only in RTA_TABLE, a destination of no bits in no attribute at all. Encoding and
// decoding here know one form.
//
// struct rtmsg, 12 bytes:
//   0  u8 rtm_family   1  u8 rtm_dst_len   2  u8 rtm_src_len   3  u8 rtm_tos
//   4  u8 rtm_table   5  u8 rtm_protocol   6  u8 rtm_scope   7  u8 rtm_type
//   8  u32 rtm_flags (RTNH_F_* of the one hop, RTM_F_*)

import { type Address, familyOf } from "../ip/address.ts";
import { ADDRESS_BITS, type Family } from "../ip/family.ts";
import { makePrefix, type Prefix, prefixAddress, prefixFamily, prefixLength } from "../ip/prefix.ts";
import { MalformedMessage } from "./error.ts";
import { familyFromNumber, familyNumber } from "./family.ts";
import { type MessageReader, NLM_F_DUMP, PUT_FLAGS, type PutMode } from "./message.ts";
import { decodeHops, type RouteHop } from "./route_hops.ts";
import type { MessageWriter } from "./writer.ts";

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

const RTMSG_LENGTH = 12;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;
const RTA_NH_ID = 30;

const RTAX_MTU = 2;
const RTAX_ADVMSS = 8;

export const RT_TABLE_DEFAULT = 253;
export const RT_TABLE_MAIN = 254;
export const RT_TABLE_LOCAL = 255;
/** In rtm_table of a request: the number stands in RTA_TABLE. */
const RT_TABLE_UNSPEC = 0;

export const RTPROT_UNSPEC = 0;
export const RTPROT_KERNEL = 2;
export const RTPROT_BOOT = 3;
export const RTPROT_STATIC = 4;

export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;
export const RT_SCOPE_HOST = 254;
/** In RTM_DELROUTE: whatever its scope. */
export const RT_SCOPE_NOWHERE = 255;

export const RTN_UNSPEC = 0;
export const RTN_UNICAST = 1;
export const RTN_LOCAL = 2;
export const RTN_BROADCAST = 3;
export const RTN_BLACKHOLE = 6;
export const RTN_UNREACHABLE = 7;
export const RTN_PROHIBIT = 8;
export const RTN_THROW = 9;

/** A copy that the kernel made for one destination, not a route. */
export const RTM_F_CLONED = 0x200;

/** In a lookup: name the table that the route was found in. */
const RTM_F_LOOKUP_TABLE = 0x1000;

export interface RouteMessage {
  readonly kind: "route";
  readonly family: Family;
  /** 0.0.0.0/0 or ::/0 for the default route. */
  readonly dst: Prefix;
  /** RT_TABLE_* */
  readonly table: number;
  /** RTPROT_*: who made it. */
  readonly protocol: number;
  /** RT_SCOPE_* */
  readonly scope: number;
  /** RTN_* */
  readonly type: number;
  /** RTNH_F_* (nexthop.ts), RTM_F_* */
  readonly flags: number;
  /** ifindex of the device. */
  readonly oif: number | undefined;
  /** Of either family: an IPv4 route may go through an IPv6 gateway. */
  readonly gateway: Address | undefined;
  /** The nexthop object it goes through; oif and gateway then repeat what the object says. */
  readonly nexthopId: number | undefined;
  /** "metric" of `ip route`; smaller wins. undefined is 0 for IPv4; the kernel makes it 1024 for IPv6. */
  readonly priority: number | undefined;
  /** "src" of `ip route`: the address that our packets carry. */
  readonly prefsrc: Address | undefined;
  readonly tos: number;
  /** Bytes; "mtu" and "advmss" of `ip route`. */
  readonly mtu: number | undefined;
  readonly advmss: number | undefined;
  /** The hops of a multipath route; undefined for a route of one. */
  readonly hops: readonly RouteHop[] | undefined;
}

export type NewRoute = Pick<RouteMessage, "dst"> & Partial<Omit<RouteMessage, "kind" | "dst" | "family" | "hops">>;

/**
 * `ip route add|replace DST [via GATEWAY] [dev DEV] [nhid ID] …`. Unless given: main table, unicast, protocol boot as
 * `ip` has it; the scope is that of the whole world when there is a gateway or nexthop object, the link's when there is
 * none.
 */
export function putRoute(writer: MessageWriter, route: NewRoute, mode: PutMode): void {
  const onLink = !route.gateway && route.nexthopId === undefined && prefixFamily(route.dst) === "ipv4";
  const type = route.type ?? RTN_UNICAST;
  const scope = route.scope ?? (onLink && type === RTN_UNICAST ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
  writeRoute(writer, RTM_NEWROUTE, PUT_FLAGS[mode], { protocol: RTPROT_BOOT, ...route, scope, type });
}

/** `ip route delete DST …`: only what is given must match. */
export function deleteRoute(writer: MessageWriter, route: NewRoute): void {
  writeRoute(writer, RTM_DELROUTE, 0, { scope: RT_SCOPE_NOWHERE, ...route });
}

/** `ip route get ADDRESS`: how a packet to it would go; the answer has oif, gateway and prefsrc. */
export function lookUpRoute(writer: MessageWriter, address: Address): void {
  const family = familyOf(address);
  writer.begin(RTM_GETROUTE, 0, RTMSG_LENGTH);
  writer.setU8(0, familyNumber(family));
  writer.setU8(1, ADDRESS_BITS[family]);
  writer.setU32(8, RTM_F_LOOKUP_TABLE);
  writer.address(RTA_DST, address);
  writer.end();
}

export interface RouteFilter {
  readonly family: Family;
  readonly table?: number;
  readonly protocol?: number;
  readonly oif?: number;
}

/** `ip route show [table TABLE] [protocol PROTOCOL] [dev DEV]` */
export function dumpRoutes(writer: MessageWriter, filter: RouteFilter): void {
  writer.begin(RTM_GETROUTE, NLM_F_DUMP, RTMSG_LENGTH);
  writer.setU8(0, familyNumber(filter.family));
  if (filter.protocol !== undefined) writer.setU8(5, filter.protocol);
  if (filter.table !== undefined) writer.u32(RTA_TABLE, filter.table);
  if (filter.oif !== undefined) writer.u32(RTA_OIF, filter.oif);
  writer.end();
}

/** undefined for what is no IP route. */
export function decodeRoute(message: MessageReader): RouteMessage | undefined {
  const attributes = message.attributes(RTMSG_LENGTH);
  const family = familyFromNumber(message.u8(0));
  if (!family) return undefined;
  const length = message.u8(1);
  if (length > ADDRESS_BITS[family]) throw new MalformedMessage(`route to a prefix of ${length} bits`);
  let address: Address | undefined;
  let table = message.u8(4);
  let oif: number | undefined;
  let gateway: Address | undefined;
  let nexthopId: number | undefined;
  let priority: number | undefined;
  let prefsrc: Address | undefined;
  let mtu: number | undefined;
  let advmss: number | undefined;
  let hops: RouteHop[] | undefined;
  while (attributes.next()) {
    switch (attributes.type) {
      case RTA_DST:
        address = attributes.address();
        break;
      case RTA_TABLE:
        table = attributes.u32();
        break;
      case RTA_OIF:
        oif = attributes.u32();
        break;
      case RTA_GATEWAY:
        gateway = attributes.address();
        break;
      case RTA_VIA:
        gateway = attributes.via();
        break;
      case RTA_NH_ID:
        nexthopId = attributes.u32();
        break;
      case RTA_PRIORITY:
        priority = attributes.u32();
        break;
      case RTA_PREFSRC:
        prefsrc = attributes.address();
        break;
      case RTA_METRICS:
        for (const metrics = attributes.nested(); metrics.next(); ) {
          if (metrics.type === RTAX_MTU) mtu = metrics.u32();
          else if (metrics.type === RTAX_ADVMSS) advmss = metrics.u32();
        }
        break;
      case RTA_MULTIPATH:
        hops = decodeHops(attributes.bytes());
        break;
    }
  }
  return {
    kind: "route",
    family,
    dst: makePrefix(address ?? ANY[family], length),
    table,
    protocol: message.u8(5),
    scope: message.u8(6),
    type: message.u8(7),
    flags: message.u32(8),
    oif,
    gateway,
    nexthopId,
    priority,
    prefsrc,
    tos: message.u8(3),
    mtu,
    advmss,
    hops,
  };
}

const ANY: Readonly<Record<Family, Address>> = { ipv4: "0.0.0.0" as Address, ipv6: "::" as Address };

function writeRoute(writer: MessageWriter, messageType: number, messageFlags: number, route: NewRoute): void {
  const { dst, table = RT_TABLE_MAIN, gateway } = route;
  const length = prefixLength(dst);
  const family = prefixFamily(dst);
  writer.begin(messageType, messageFlags, RTMSG_LENGTH);
  writer.setU8(0, familyNumber(family));
  writer.setU8(1, length);
  writer.setU8(3, route.tos ?? 0);
  writer.setU8(4, table < 256 ? table : RT_TABLE_UNSPEC);
  writer.setU8(5, route.protocol ?? RTPROT_UNSPEC);
  writer.setU8(6, route.scope ?? RT_SCOPE_UNIVERSE);
  writer.setU8(7, route.type ?? RTN_UNSPEC);
  writer.setU32(8, route.flags ?? 0);
  if (length > 0) writer.address(RTA_DST, prefixAddress(dst));
  if (gateway && familyOf(gateway) === family) writer.address(RTA_GATEWAY, gateway);
  else if (gateway) writer.via(RTA_VIA, gateway);
  if (route.nexthopId !== undefined) writer.u32(RTA_NH_ID, route.nexthopId);
  if (route.prefsrc) writer.address(RTA_PREFSRC, route.prefsrc);
  if (route.priority !== undefined) writer.u32(RTA_PRIORITY, route.priority);
  if (table >= 256) writer.u32(RTA_TABLE, table);
  if (route.oif !== undefined) writer.u32(RTA_OIF, route.oif);
  if (route.mtu !== undefined || route.advmss !== undefined) {
    const metrics = writer.beginNested(RTA_METRICS);
    if (route.mtu !== undefined) writer.u32(RTAX_MTU, route.mtu);
    if (route.advmss !== undefined) writer.u32(RTAX_ADVMSS, route.advmss);
    writer.endNested(metrics);
  }
  writer.end();
}
