// From an operation to the rtnetlink message that does it. Each names its command (state/print.ts prints the same).

import { type Prefix, prefixFamily } from "../ip/prefix.ts";
import { deleteAddress, IFA_F_NODAD, putAddress } from "../netlink/address.ts";
import { deleteFdb, putFdb } from "../netlink/fdb.ts";
import { addLink, changeLink, deleteLink } from "../netlink/link.ts";
import type { NewLinkInfo } from "../netlink/link_info.ts";
import { deleteNeighbour, putNeighbour } from "../netlink/neighbour.ts";
import { deleteNexthop, putNexthop, RTNH_F_ONLINK } from "../netlink/nexthop.ts";
import { deleteRoute, putRoute, RTN_BLACKHOLE } from "../netlink/route.ts";
import type { MessageWriter } from "../netlink/writer.ts";
import {
  type Blackhole,
  differences,
  isNetworkObject,
  type KernelObject,
  type Link,
  type LinkInfo,
  type NetworkObject,
  type Route,
} from "../state/object.ts";
import type { Change } from "../state/operation.ts";
import { BLACKHOLE_METRIC, ROUTE_PROTOCOL } from "../state/print.ts";
import type { LinkTable } from "./links.ts";
import type { NexthopIds } from "./nexthop_ids.ts";

/** Why an operation has no message, in place of an answer by the kernel. */
export type Obstacle = { readonly obstacle: string } | { readonly alreadyGone: true };

/** Appends the messages of an operation (one, but for some changes of a link), or returns why there is none. `recreate` is two operations and not encoded as one. */
export function encodeOperation(
  writer: MessageWriter,
  operation: Change,
  links: LinkTable,
  ids: NexthopIds,
): Obstacle | undefined {
  const { object, verb } = operation;
  if (object.kind === "link") {
    return operation.verb === "change"
      ? encodeLinkChange(writer, object, operation.actual, links)
      : encodeLink(writer, object, verb, links);
  }
  if (!isNetworkObject(object)) return { obstacle: `a ${object.kind} is not rtnetlink's` };
  if (object.kind === "blackhole") return encodeBlackhole(writer, object, verb);
  const index = links.indexOf(object.dev);
  if (index === undefined)
    return verb === "delete" ? { alreadyGone: true } : { obstacle: `there is no link ${object.dev}` };
  return verb === "delete" ? encodeDelete(writer, object, index, ids) : encodePut(writer, object, index, ids);
}

function encodeLink(writer: MessageWriter, link: Link, verb: string, links: LinkTable): Obstacle | undefined {
  if (verb === "delete") {
    const index = links.indexOf(link.name);
    if (index === undefined) return { alreadyGone: true };
    deleteLink(writer, index); // ip link delete NAME
    return undefined;
  }
  const { name, mac, mtu } = link;
  const info = newLinkInfo(link.info, links);
  if ("obstacle" in info) return info;
  addLink(writer, { name, mtu, info, ...(mac && { mac }) }); // ip link add NAME type vxlan …
  return undefined;
}

/** ip route replace|delete blackhole DST metric … */
function encodeBlackhole(writer: MessageWriter, { dst }: Blackhole, verb: string): undefined {
  const route = { dst, type: RTN_BLACKHOLE, priority: BLACKHOLE_METRIC, protocol: ROUTE_PROTOCOL };
  if (verb === "delete") deleteRoute(writer, route);
  else putRoute(writer, route, "replace");
}

/** The difference only: setting an MTU that stands already can be refused. A vxlan's own options go alone, since with an MTU the kernel refuses both. */
function encodeLinkChange(
  writer: MessageWriter,
  link: Link,
  actual: KernelObject,
  links: LinkTable,
): Obstacle | undefined {
  const index = links.indexOf(link.name);
  if (index === undefined) return { obstacle: `there is no link ${link.name}` };
  const fields = differences(link, actual);
  if (fields.includes("learning") && link.info.type === "vxlan")
    changeLink(writer, index, { info: { type: "vxlan", learning: link.info.learning } });
  const [mac, mtu] = [fields.includes("mac") && link.mac, fields.includes("mtu")];
  if (mac || mtu) changeLink(writer, index, { ...(mac && { mac }), ...(mtu && { mtu: link.mtu }) });
  return undefined; // ip link set NAME type vxlan …; ip link set NAME address|mtu …
}

function newLinkInfo(info: LinkInfo, links: LinkTable): NewLinkInfo | { readonly obstacle: string } {
  switch (info.type) {
    case "vxlan": {
      const parentIndex = links.indexOf(info.parent);
      if (parentIndex === undefined) return { obstacle: `there is no link ${info.parent} to carry its packets` };
      const { type, vni, port, learning, gbp, local } = info;
      return { type, vni, port, learning, gbp, parentIndex, ...(local && { local }) };
    }
    case "wireguard":
      return { type: "other", name: "wireguard" };
    case "ipip": {
      const { type, local } = info;
      return { type, pathMtuDiscovery: false, ...(local && { local }) };
    }
    case "tun":
      return { obstacle: `a ${info.type} device is not made this way` };
  }
}

function encodePut(
  writer: MessageWriter,
  object: Exclude<NetworkObject, Link | Blackhole>,
  index: number,
  ids: NexthopIds,
): Obstacle | undefined {
  switch (object.kind) {
    case "up":
      changeLink(writer, index, { up: true }); // ip link set DEV up
      return undefined;
    case "address":
      encodeAddress(writer, index, object.address);
      return undefined;
    case "neighbour":
      putNeighbour(writer, { index, address: object.address, mac: object.mac }, "replace"); // ip neighbour replace … nud permanent
      return undefined;
    case "fdb":
      putFdb(writer, { index, mac: object.mac, dst: object.dst }, "replace"); // bridge fdb replace … self permanent
      return undefined;
    case "nexthop": {
      const existing = ids.get(object);
      const id = existing ?? ids.reserve(object);
      if (id === undefined) return { obstacle: "every nexthop id of this network's range is taken" };
      ids.set(id, object);
      const flags = object.onlink ? RTNH_F_ONLINK : 0;
      // An id that looks free may have been taken since: never replace what is not known to be ours.
      const mode = existing === undefined ? "add" : "replace";
      putNexthop(writer, { id, oif: index, gateway: object.gateway, flags, protocol: ROUTE_PROTOCOL }, mode);
      return undefined;
    }
    case "route":
      return encodeRoute(writer, object, index, ids);
    case "sysctl":
      return { obstacle: "sysctls do not go through rtnetlink" };
  }
}

/** ip address replace ADDRESS dev DEV [nodad]; the lease says whose it is, and for the second that a check takes, no packet could have it as its source. */
function encodeAddress(writer: MessageWriter, index: number, address: Prefix): void {
  const flags = prefixFamily(address) === "ipv6" ? IFA_F_NODAD : 0;
  putAddress(writer, { index, address, flags }, "replace");
}

/** ip route replace DST nhid ID | via GATEWAY dev DEV [onlink] */
function encodeRoute(writer: MessageWriter, route: Route, oif: number, ids: NexthopIds): Obstacle | undefined {
  const { dst, dev, gateway, form, onlink } = route;
  if (form === "object" && gateway) {
    const nexthopId = ids.get({ dev, gateway });
    if (nexthopId === undefined) return { obstacle: `there is no nexthop via ${gateway} dev ${dev}` };
    putRoute(writer, { dst, nexthopId, protocol: ROUTE_PROTOCOL }, "replace");
  } else {
    const flags = onlink ? RTNH_F_ONLINK : 0;
    putRoute(writer, { dst, oif, flags, protocol: ROUTE_PROTOCOL, ...(gateway && { gateway }) }, "replace");
  }
  return undefined;
}

function encodeDelete(
  writer: MessageWriter,
  object: Exclude<NetworkObject, Link | Blackhole>,
  index: number,
  ids: NexthopIds,
): Obstacle | undefined {
  switch (object.kind) {
    case "up":
      changeLink(writer, index, { up: false });
      return undefined;
    case "address":
      deleteAddress(writer, { index, address: object.address });
      return undefined;
    case "neighbour":
      deleteNeighbour(writer, { index, address: object.address });
      return undefined;
    case "fdb":
      deleteFdb(writer, { index, mac: object.mac, dst: object.dst });
      return undefined;
    case "nexthop": {
      const id = ids.get(object);
      if (id === undefined) return { alreadyGone: true };
      deleteNexthop(writer, id);
      return undefined;
    }
    case "route": {
      // By nexthop id, or by device and gateway: whichever says exactly this route, so that nobody else's of the same destination can be meant.
      const { dst, dev, gateway } = object;
      if (object.form === "plain") deleteRoute(writer, { dst, oif: index, ...(gateway && { gateway }) });
      else {
        const nexthopId = gateway && ids.get({ dev, gateway });
        deleteRoute(writer, { dst, protocol: ROUTE_PROTOCOL, ...(nexthopId !== undefined && { nexthopId }) });
      }
      return undefined;
    }
    case "sysctl":
      return { obstacle: "sysctls do not go through rtnetlink" };
  }
}
