// IPv6 refuses a gateway that is said to be on link by one device (`onlink`) while a route leads to it by another: EINVAL, "Nexthop has invalid gateway or
// device mismatch" (ip6_route_check_nh_onlink in net/ipv6/route.c). The gateways of vxlan lie inside the very subnets that are routed, so a peer that was
// reached without encapsulation could not be reached with it before its route is gone, and its packets with it. A route to the gateway alone,
// by the right device and for as long as the request takes, makes the two agree. IPv4 does not look.

import { familyOf } from "../ip/address.ts";
import { ADDRESS_BITS } from "../ip/family.ts";
import { makePrefix } from "../ip/prefix.ts";
import { deleteRoute, putRoute } from "../netlink/route.ts";
import type { MessageWriter } from "../netlink/writer.ts";
import type { Operation } from "../state/operation.ts";
import { ROUTE_PROTOCOL } from "../state/print.ts";
import { EINVAL } from "../sys/error.ts";
import { encodeOperation } from "./encode.ts";
import type { LinkTable } from "./links.ts";
import type { NexthopIds } from "./nexthop_ids.ts";

/** Whether an operation was refused for this, as far as its errno tells. */
export function mayBeShadowed({ verb, object }: Operation, errno: number): boolean {
  if (verb === "delete" || errno !== EINVAL || (object.kind !== "nexthop" && object.kind !== "route")) return false;
  return object.onlink && object.gateway !== undefined && familyOf(object.gateway) === "ipv6";
}

/** Appends three messages, of which the second is the operation's. */
export function encodeShadowed(writer: MessageWriter, operation: Operation, links: LinkTable, ids: NexthopIds): void {
  const { object } = operation;
  if ((object.kind !== "nexthop" && object.kind !== "route") || !object.gateway) return;
  const oif = links.indexOf(object.dev);
  if (oif === undefined) return;
  const dst = makePrefix(object.gateway, ADDRESS_BITS[familyOf(object.gateway)]);
  putRoute(writer, { dst, oif, protocol: ROUTE_PROTOCOL }, "replace"); // ip -6 route replace GATEWAY/128 dev DEV proto 70
  encodeOperation(writer, operation, links, ids);
  deleteRoute(writer, { dst, oif, protocol: ROUTE_PROTOCOL });
}
