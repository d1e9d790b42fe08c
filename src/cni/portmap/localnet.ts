// Lets packets from 127.0.0.1 leave by the interface that leads to the container (ip-sysctl: route_localnet), so that a published port answers at the host's
// loopback. Without it the kernel drops them as martians once they are translated.

import type { Address } from "../../ip/address.ts";
import { AnswerError } from "../../netlink/error.ts";
import { findLink } from "../../netlink/list.ts";
import { decodeRoute, lookUpRoute } from "../../netlink/route.ts";
import { RequestSocket } from "../../netlink/socket.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import { setSysctl } from "../sysctl.ts";

/** Does nothing when no route leads to `container`. */
export function routeLoopbackTo(container: Address): void {
  const name = interfaceTo(container);
  if (name === undefined) return;
  try {
    setSysctl(`ipv4/conf/${name}/route_localnet`, "1");
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new CniError(CNI_CODE.internal, `cannot set net.ipv4.conf.${name}.route_localnet: ${cause}`);
  }
}

function interfaceTo(address: Address): string | undefined {
  using socket = new RequestSocket();
  try {
    const [route] = socket.request((writer) => lookUpRoute(writer, address), decodeRoute);
    return route?.oif === undefined ? undefined : findLink(socket, { index: route.oif })?.name;
  } catch (error) {
    if (error instanceof AnswerError) return undefined; // ENETUNREACH and its kind
    throw error;
  }
}
