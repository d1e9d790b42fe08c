// What stands between a node that our flanneld has left and Go flannel, as steps to take (rtnetlink(7)). Go names a route that it deletes by destination, gateway
// and device, and the kernel finds none such among routes whose gateway stands in a nexthop object: those are replaced by plain ones, of protocol boot as Go's
// are, and the objects then deleted. Go's udp backend takes the first device name that is free, so a flannel0 that nobody serves must not keep it, nor the route.

import { looksLikeOurs } from "../../backend/backends.ts";
import type { Address } from "../../ip/address.ts";
import type { PerFamily } from "../../ip/family.ts";
import { containsAddress, type Prefix, prefixAddress, prefixFamily } from "../../ip/prefix.ts";
import { insideNetwork, isOurNexthop } from "../../kernel/ownership.ts";
import type { AddressMessage } from "../../netlink/address.ts";
import { IFF_LOWER_UP, type LinkMessage } from "../../netlink/link.ts";
import { type NexthopMessage, RTNH_F_ONLINK } from "../../netlink/nexthop.ts";
import { type NewRoute, type RouteMessage, RTN_UNICAST, RTPROT_BOOT } from "../../netlink/route.ts";
import { ROUTE_PROTOCOL } from "../../state/print.ts";

/** What the kernel has; routes are those of the main table with our protocol. */
export interface Found {
  readonly links: readonly LinkMessage[];
  readonly addresses: readonly AddressMessage[];
  readonly nexthops: readonly NexthopMessage[];
  readonly routes: readonly RouteMessage[];
}

export type Step = { readonly command: string } & (
  | {
      readonly kind: "route";
      readonly verb: "replace";
      readonly route: NewRoute;
      readonly nexthopId: number | undefined;
    }
  | { readonly kind: "nexthop"; readonly verb: "delete"; readonly id: number }
  | { readonly kind: "link"; readonly verb: "delete"; readonly index: number }
);

/** In the order in which they lose no packet. */
export function stepsToPlain(found: Found, networks: PerFamily<Prefix>): readonly Step[] {
  const names = new Map(found.links.map(({ index, name }) => [index, name]));
  const nexthops = new Map(found.nexthops.map((nexthop) => [nexthop.id, nexthop]));
  const ownership = { links: ownLinks(found, networks), networks };
  const isOurs = ({ id, protocol, oif }: NexthopMessage) =>
    isOurNexthop(ownership, id, protocol, oif === undefined ? undefined : names.get(oif));

  const routes = found.routes.flatMap((route) => {
    const { dst, nexthopId, type, protocol } = route;
    const nexthop = nexthopId === undefined ? undefined : nexthops.get(nexthopId);
    const ours = insideNetwork(ownership, dst) || (nexthop !== undefined && isOurs(nexthop));
    return ours && protocol === ROUTE_PROTOCOL && type === RTN_UNICAST ? plainRoute(route, nexthop, names) : [];
  });
  const objects = found.nexthops
    .filter(isOurs)
    .map(({ id }): Step => ({ kind: "nexthop", verb: "delete", id, command: `ip nexthop delete id ${id}` }));
  const devices = found.links
    .filter(({ name }) => ownership.links.has(name))
    .filter(({ info, flags }) => info?.type === "tun" && info.persist && !(flags & IFF_LOWER_UP))
    .map(({ index, name }): Step => ({ kind: "link", verb: "delete", index, command: `ip link delete ${name}` }));
  return [...routes, ...objects, ...devices];
}

/** A route without a gateway (of udp and wireguard) says its device alone, in Go's form already; none is then returned. */
function plainRoute(
  route: RouteMessage,
  nexthop: NexthopMessage | undefined,
  names: ReadonlyMap<number, string>,
): Step[] {
  const { dst, priority, prefsrc, nexthopId } = route;
  const { oif, gateway, flags } = nexthop ?? route;
  const dev = oif === undefined ? undefined : names.get(oif);
  if (oif === undefined || dev === undefined || gateway === undefined) return [];
  const onlink = flags & RTNH_F_ONLINK;
  const plain: NewRoute = {
    dst,
    oif,
    gateway,
    flags: onlink,
    protocol: RTPROT_BOOT,
    ...(priority !== undefined && { priority }),
    ...(prefsrc && { prefsrc }),
  };
  const command = `ip ${prefixFamily(dst) === "ipv6" ? "-6 " : ""}route replace ${dst} via ${gateway} dev ${dev}${onlink ? " onlink" : ""} proto boot`;
  return [{ kind: "route", verb: "replace", route: plain, nexthopId, command }];
}

/** By looks and by an address inside the network, so that another flannel's on this host are left alone. */
function ownLinks({ links, addresses }: Found, networks: PerFamily<Prefix>): ReadonlySet<string> {
  const inside = (address: Address) =>
    [networks.ipv4, networks.ipv6].some((network) => network !== undefined && containsAddress(network, address));
  const own = links.filter(({ index, name, info }) => {
    const type = info?.type === "other" ? info.name : info?.type;
    if (type !== "vxlan" && type !== "tun" && type !== "ipip" && type !== "wireguard") return false;
    if (!looksLikeOurs(name, type)) return false;
    return addresses.some((each) => each.index === index && inside(prefixAddress(each.address)));
  });
  return new Set(own.map(({ name }) => name));
}
