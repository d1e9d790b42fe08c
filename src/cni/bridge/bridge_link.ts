// The bridge itself: made when it is not there, up, with the gateway's addresses. What it has is read first, since all but the first container of a node
// find it as it should be.

import type { Mac } from "../../ip/mac.ts";
import { containsAddress, type Prefix, prefixAddress, prefixFamily } from "../../ip/prefix.ts";
import { deleteAddress, putAddress } from "../../netlink/address.ts";
import { AnswerError } from "../../netlink/error.ts";
import { addLink, changeLink, IFF_PROMISC, IFF_UP, type LinkMessage } from "../../netlink/link.ts";
import { findLink, listAddresses, listLinks } from "../../netlink/list.ts";
import type { RequestSocket } from "../../netlink/socket.ts";
import { EEXIST } from "../../sys/error.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import { preferSysctl, setSysctl } from "../sysctl.ts";
import type { BridgeConf } from "./conf.ts";
import { newAddress } from "./new_address.ts";

/** The bridge, made when there is none, and up. */
export function ensureBridge(socket: RequestSocket, conf: BridgeConf): LinkMessage {
  const { bridge: name, promiscuous, mtu } = conf;
  let link = findLink(socket, { name });
  if (!link) {
    const info = { type: "bridge" } as const;
    ignoreExisting(() =>
      socket.request((writer) => addLink(writer, { name, info, ...(mtu !== undefined && { mtu }) })),
    );
    link = findLink(socket, { name });
    if (!link)
      throw new CniError(CNI_CODE.tryAgain, `cannot find bridge ${name}: it was removed right after it was made`);
  }
  if (link.info?.type !== "bridge") {
    const message = `${name} already exists but is not a bridge; remove it, or name another one by the key "bridge"`;
    throw new CniError(CNI_CODE.internal, message);
  }
  const { index, flags } = link;
  if (promiscuous && !(flags & IFF_PROMISC))
    socket.request((writer) => changeLink(writer, index, { promiscuous: true }));
  preferSysctl(`ipv6/conf/${name}/accept_ra`, "0"); // its routes are ours, not those of a router behind a container
  if (!(flags & IFF_UP)) socket.request((writer) => changeLink(writer, index, { up: true }));
  return link;
}

/** Gives the bridge the addresses of the gateways, and has the host forward. `ownPort` is the container's that this is done for. */
export function ensureGateways(
  socket: RequestSocket,
  bridge: LinkMessage,
  gateways: readonly Prefix[],
  forceAddress: boolean,
  ownPort: number,
): void {
  if (gateways.length === 0) return;
  const present = new Set(listAddresses(socket, { index: bridge.index }).map(({ address }) => address));
  for (const gateway of gateways) {
    if (present.has(gateway)) continue;
    const others = [...present].filter((other) => isInTheWay(other, gateway));
    if (others.length > 0 && !forceAddress) {
      if (others.some((other) => gateways.includes(other))) twoGateways(bridge.name, gateway, others);
      checkUnused(socket, bridge, others, gateway, ownPort);
    }
    for (const address of others) {
      socket.request((writer) => deleteAddress(writer, { index: bridge.index, address }));
      present.delete(address);
    }
    ignoreExisting(() => socket.request((writer) => putAddress(writer, newAddress(bridge.index, gateway), "add")));
    present.add(gateway);
    pinMac(socket, bridge.index, bridge.mac);
  }
  for (const family of new Set(gateways.map(prefixFamily))) {
    setSysctl(family === "ipv4" ? "ipv4/ip_forward" : "ipv6/conf/all/forwarding", "1");
  }
}

/** A MAC that was set does not change with the ports: without, a bridge has the lowest of theirs. */
function pinMac(socket: RequestSocket, index: number, mac: Mac | undefined): void {
  if (mac) socket.request((writer) => changeLink(writer, index, { mac }));
}

/** A bridge has one IPv4 address, and IPv6 addresses whose subnets are apart. */
function isInTheWay(other: Prefix, gateway: Prefix): boolean {
  if (prefixFamily(other) !== prefixFamily(gateway)) return false;
  if (prefixFamily(gateway) === "ipv4") return true;
  return containsAddress(other, prefixAddress(gateway)) || containsAddress(gateway, prefixAddress(other));
}

/**
 * upstream: the reference plugin fails here whoever uses the bridge. An address of the subnet that the node had before is no loss when no container is
 * attached.
 */
function checkUnused(
  socket: RequestSocket,
  { index, name }: LinkMessage,
  others: readonly Prefix[],
  gateway: Prefix,
  ownPort: number,
): void {
  const ports = listLinks(socket, { masterIndex: index }).filter((port) => port.index !== ownPort);
  if (ports.length === 0) return;
  const few = ports.slice(0, 3).map((port) => port.name);
  throw new CniError(
    CNI_CODE.internal,
    `"${name}" already has an IP address different from ${gateway}: it has ${others.join(", ")}, and ${ports.length} ` +
      `${ports.length === 1 ? "interface is" : "interfaces are"} attached to it (${few.join(", ")}${ports.length > 3 ? " …" : ""}); ` +
      `the node's subnet has changed: delete its pods that still use the old one, and the address is replaced with the next; or set "forceAddress"`,
  );
}

function twoGateways(name: string, gateway: Prefix, others: readonly Prefix[]): never {
  const message =
    `"${name}" already has an IP address different from ${gateway}: ${others.join(", ")}, the gateway of another range; ` +
    'give the ranges one gateway, or set "isGateway" to false';
  throw new CniError(CNI_CODE.internal, message);
}

/** Two containers started at once make the same bridge, and give it the same address. */
function ignoreExisting(act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof AnswerError && error.errno === EEXIST)) throw error;
  }
}
