// What is there, read by one dump each. The kernel is asked to filter; where it does not (no filter for that field, or
// a kernel before 4.20), the filter is applied to what it said.

import { familyOf } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";
import { prefixFamily } from "../ip/prefix.ts";
import { ENODEV, ENOENT } from "../sys/error.ts";
import { type AddressFilter, type AddressMessage, decodeAddress, dumpAddresses } from "./address.ts";
import { AnswerError } from "./error.ts";
import { decodeFdb, dumpFdb, type FdbFilter, type FdbMessage } from "./fdb.ts";
import { decodeLink, dumpLinks, getLink, type LinkFilter, type LinkMessage } from "./link.ts";
import { decodeNeighbour, dumpNeighbours, type NeighbourFilter, type NeighbourMessage } from "./neighbour.ts";
import { decodeNexthop, dumpNexthops, type NexthopFilter, type NexthopMessage } from "./nexthop.ts";
import { decodeRoute, dumpRoutes, type RouteFilter, type RouteMessage, RTM_F_CLONED } from "./route.ts";
import { decodeRule, dumpRules, type RuleMessage } from "./rule.ts";
import type { RequestSocket } from "./socket.ts";

/** `ip link show [type KIND] [master DEV]` */
export function listLinks(socket: RequestSocket, filter: LinkFilter = {}): LinkMessage[] {
  const { type, masterIndex } = filter;
  return socket
    .dump((writer) => dumpLinks(writer, filter), decodeLink)
    .filter(
      (link) =>
        (type === undefined || type === (link.info?.type === "other" ? link.info.name : link.info?.type)) &&
        (masterIndex === undefined || masterIndex === link.masterIndex),
    );
}

/** `ip link show dev DEV`; undefined when there is none. */
export function findLink(
  socket: RequestSocket,
  link: { readonly name: string } | { readonly index: number },
): LinkMessage | undefined {
  try {
    return socket.request((writer) => getLink(writer, link), decodeLink)[0];
  } catch (error) {
    if (error instanceof AnswerError && error.errno === ENODEV) return undefined;
    throw error;
  }
}

/** `ip address show [dev DEV]` */
export function listAddresses(socket: RequestSocket, filter: AddressFilter = {}): AddressMessage[] {
  const { family, index } = filter;
  return socket
    .dump((writer) => dumpAddresses(writer, filter), decodeAddress)
    .filter(
      (address) =>
        (index === undefined || index === address.index) &&
        (family === undefined || family === prefixFamily(address.address)),
    );
}

/** `ip neighbour show [dev DEV]` */
export function listNeighbours(socket: RequestSocket, filter: NeighbourFilter = {}): NeighbourMessage[] {
  const { family, index } = filter;
  return socket
    .dump((writer) => dumpNeighbours(writer, filter), decodeNeighbour)
    .filter(
      (neighbour) =>
        (index === undefined || index === neighbour.index) &&
        (family === undefined || family === familyOf(neighbour.address)),
    );
}

/** `bridge fdb show [dev DEV] [br BRIDGE]` */
export function listFdb(socket: RequestSocket, filter: FdbFilter = {}): FdbMessage[] {
  const { index, masterIndex } = filter;
  return socket
    .dump((writer) => dumpFdb(writer, filter), decodeFdb)
    .filter(
      (entry) =>
        (index === undefined || index === entry.index) &&
        (masterIndex === undefined || masterIndex === entry.masterIndex),
    );
}

/** `ip nexthop show [dev DEV]` */
export function listNexthops(socket: RequestSocket, filter: NexthopFilter = {}): NexthopMessage[] {
  const { oif, protocol } = filter;
  return socket
    .dump((writer) => dumpNexthops(writer, filter), decodeNexthop)
    .filter(
      (nexthop) =>
        (oif === undefined || oif === nexthop.oif) && (protocol === undefined || protocol === nexthop.protocol),
    );
}

/** `ip route show [table TABLE] [protocol PROTOCOL] [dev DEV]`; a table that does not exist holds none. */
export function listRoutes(socket: RequestSocket, filter: RouteFilter): RouteMessage[] {
  const { table, protocol, oif } = filter;
  const wanted = (route: RouteMessage) =>
    !(route.flags & RTM_F_CLONED) &&
    (table === undefined || table === route.table) &&
    (protocol === undefined || protocol === route.protocol) &&
    (oif === undefined || oif === route.oif || route.hops?.some((hop) => hop.oif === oif) === true);
  try {
    return socket.dump((writer) => dumpRoutes(writer, filter), decodeRoute).filter(wanted);
  } catch (error) {
    if (error instanceof AnswerError && error.errno === ENOENT && table !== undefined) return [];
    throw error;
  }
}

/** `ip rule show` */
export function listRules(socket: RequestSocket, family: Family): RuleMessage[] {
  return socket.dump((writer) => dumpRules(writer, family), decodeRule);
}
