// What the kernel tells subscribers (linux/rtnetlink.h, enum rtnetlink_groups): an object of one of the message
// families came to be or changed, or is gone.

import { type AddressMessage, decodeAddress, RTM_DELADDR, RTM_NEWADDR } from "./address.ts";
import { AF_BRIDGE } from "./family.ts";
import { decodeFdbNotification, type FdbMessage } from "./fdb.ts";
import { decodeLink, type LinkMessage, RTM_DELLINK, RTM_NEWLINK } from "./link.ts";
import { MessageReader } from "./message.ts";
import { decodeNeighbour, type NeighbourMessage, RTM_DELNEIGH, RTM_NEWNEIGH } from "./neighbour.ts";
import { decodeNexthop, type NexthopMessage, RTM_DELNEXTHOP, RTM_NEWNEXTHOP } from "./nexthop.ts";
import { decodeNsid, type NsidMessage, RTM_DELNSID, RTM_NEWNSID } from "./nsid.ts";
import { decodeRoute, type RouteMessage, RTM_DELROUTE, RTM_NEWROUTE } from "./route.ts";
import { decodeRule, RTM_DELRULE, RTM_NEWRULE, type RuleMessage } from "./rule.ts";

/** Multicast groups to subscribe to. */
export const RTNLGRP_LINK = 1;
/** Neighbours and forwarding entries. */
export const RTNLGRP_NEIGH = 3;
export const RTNLGRP_IPV4_IFADDR = 5;
export const RTNLGRP_IPV4_ROUTE = 7;
export const RTNLGRP_IPV4_RULE = 8;
export const RTNLGRP_IPV6_IFADDR = 9;
export const RTNLGRP_IPV6_ROUTE = 11;
export const RTNLGRP_IPV6_RULE = 19;
export const RTNLGRP_NSID = 28;
export const RTNLGRP_NEXTHOP = 32;

/** One of the objects this codec knows, told apart by `kind`. */
export type RouteNetlinkMessage =
  | LinkMessage
  | AddressMessage
  | NeighbourMessage
  | FdbMessage
  | NexthopMessage
  | RouteMessage
  | RuleMessage
  | NsidMessage;

export interface Notification {
  readonly change: "new" | "deleted";
  /** portId of the socket that caused it; 0 for the kernel itself, and for all links and FDB entries. */
  readonly portId: number;
  /** Of the request that caused it; 0 where the kernel does not say (links, neighbours, FDB entries). */
  readonly sequence: number;
  readonly object: RouteNetlinkMessage;
}

/** The notifications of one datagram, in order; messages of unknown types are left out. */
export function decodeNotifications(datagram: Uint8Array): Notification[] {
  const notifications: Notification[] = [];
  const message = new MessageReader(datagram);
  while (message.next()) {
    const object = decodeObject(message);
    if (!object) continue;
    const { portId, sequence } = message;
    // The types of each family come in fours, RTM_NEW…, RTM_DEL…, RTM_GET…, RTM_SET….
    const change = (message.type & 3) === 0 ? "new" : "deleted";
    notifications.push({ change, portId, sequence, object });
  }
  return notifications;
}

/** The object of an RTM_NEW… or RTM_DEL… message; undefined for others. */
export function decodeObject(message: MessageReader): RouteNetlinkMessage | undefined {
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return decodeLink(message);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return decodeAddress(message);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return message.u8(0) === AF_BRIDGE ? decodeFdbNotification(message) : decodeNeighbour(message);
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP:
      return decodeNexthop(message);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return decodeRoute(message);
    case RTM_NEWRULE:
    case RTM_DELRULE:
      return decodeRule(message);
    case RTM_NEWNSID:
    case RTM_DELNSID:
      return decodeNsid(message);
    default:
      return undefined;
  }
}

/** The groups that tell of links, addresses, neighbours, FDB entries and routes; of nexthop objects where the kernel has them. */
export function networkGroups(nexthopObjects: boolean): number[] {
  return [
    RTNLGRP_LINK,
    RTNLGRP_NEIGH,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_ROUTE,
    ...(nexthopObjects ? [RTNLGRP_NEXTHOP] : []),
  ];
}
