// A bridge that has another address than the gateway's. Mostly it is of the subnet that the node had before flanneld got another one; as long as no container
// is attached, nothing is lost by replacing it.
//
// upstream: the reference plugin fails whoever uses the bridge, until somebody removes it by hand.

import type { Prefix } from "../../ip/prefix.ts";
import type { LinkBrief } from "../../netlink/link_brief.ts";
import { listLinks } from "../../netlink/list.ts";
import type { RequestSocket } from "../../netlink/socket.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";

export interface Replacement {
  readonly socket: RequestSocket;
  readonly bridge: LinkBrief;
  /** Addresses that the bridge has. */
  readonly others: readonly Prefix[];
  /** The one that is to replace them, and all that the bridge is to have. */
  readonly gateway: Prefix;
  readonly gateways: readonly Prefix[];
  /** The container's for which it is done. */
  readonly ownPort: string;
}

/** Throws CniError, which says what to do, when `others` may be in use. */
export function checkReplaceable({ socket, bridge, others, gateway, gateways, ownPort }: Replacement): void {
  const failure = `"${bridge.name}" already has an IP address different from ${gateway}: `;
  if (others.some((other) => gateways.includes(other))) {
    const advice = 'give the ranges one gateway, or set "isGateway" to false';
    throw new CniError(CNI_CODE.internal, `${failure}${others.join(", ")}, the gateway of another range; ${advice}`);
  }
  const ports = listLinks(socket, { masterIndex: bridge.index }).flatMap(({ name }) =>
    name === ownPort ? [] : [name],
  );
  if (ports.length === 0) return;
  const count = ports.length === 1 ? "1 interface is" : `${ports.length} interfaces are`;
  const names = `${ports.slice(0, 3).join(", ")}${ports.length > 3 ? " …" : ""}`;
  throw new CniError(
    CNI_CODE.internal,
    `${failure}it has ${others.join(", ")}, and ${count} attached to it (${names}); the node's subnet has changed: delete its pods that still use ` +
      'the old one, and the address is replaced with the next; or set "forceAddress"',
  );
}
