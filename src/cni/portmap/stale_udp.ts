// Forgets tracked UDP "connections" to published ports. A client that went on sending while no container was there has one without translation, or with the
// address of the container before; every packet renews it, so new rules would never be asked.

import type { Family } from "../../ip/family.ts";
import {
  type Connection,
  decodeConnection,
  deleteConnection,
  dumpConnections,
  IPPROTO_UDP,
} from "../../netlink/conntrack.ts";
import { NETLINK_NETFILTER } from "../../netlink/open.ts";
import { RequestSocket } from "../../netlink/socket.ts";
import type { PortMapping } from "./conf.ts";
import { isFor, isUnspecified } from "./rules.ts";

/** To be called when the rules stand. Failing is no reason to refuse the container: such a connection ends by itself, and most hosts have none. */
export function forgetStaleUdp(family: Family, mappings: readonly PortMapping[]): void {
  const udp = mappings.filter((mapping) => mapping.protocol === "udp" && isFor(mapping, family));
  if (udp.length === 0) return;
  try {
    using socket = new RequestSocket({ protocol: NETLINK_NETFILTER });
    const stale = udp.flatMap((mapping) => connectionsTo(socket, family, mapping));
    socket.batch((writer) => {
      for (const connection of stale) deleteConnection(writer, connection);
    });
  } catch {
    // A kernel without ctnetlink, as that of some appliances.
  }
}

function connectionsTo(socket: RequestSocket, family: Family, { hostPort, hostIp }: PortMapping): Connection[] {
  const wanted = hostIp === undefined || isUnspecified(hostIp) ? undefined : hostIp;
  return socket
    .dump((writer) => dumpConnections(writer, { family, protocol: IPPROTO_UDP, dstPort: hostPort }), decodeConnection)
    .filter(
      (connection) =>
        connection.protocol === IPPROTO_UDP &&
        connection.dstPort === hostPort &&
        (wanted === undefined || connection.dst === wanted),
    );
}
