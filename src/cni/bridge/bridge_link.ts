// The bridge itself: made when it is not there, up, with the gateway's addresses. What it has is read first, since all but the first container of a node
// find it as it should be.

import type { Mac } from "../../ip/mac.ts";
import { containsAddress, type Prefix, prefixAddress, prefixFamily } from "../../ip/prefix.ts";
import { decodeAddress, deleteAddress, dumpAddresses, putAddress } from "../../netlink/address.ts";
import { AnswerError } from "../../netlink/error.ts";
import { addLink, changeLink, IFF_PROMISC, IFF_UP } from "../../netlink/link.ts";
import { findLinkBrief, type LinkBrief } from "../../netlink/link_brief.ts";
import type { RequestSocket } from "../../netlink/socket.ts";
import { EEXIST } from "../../sys/error.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import { preferSysctl, setSysctl } from "../sysctl.ts";
import type { BridgeConf } from "./conf.ts";
import { newAddress } from "./new_address.ts";

/** The bridge, made when there is none, and up. */
export function ensureBridge(socket: RequestSocket, conf: BridgeConf): LinkBrief {
  const { bridge: name, promiscuous, mtu } = conf;
  let link = findLinkBrief(socket, { name }, true);
  if (!link) {
    const info = { type: "bridge" } as const;
    ignoreExisting(() =>
      socket.request((writer) => addLink(writer, { name, info, ...(mtu !== undefined && { mtu }) })),
    );
    link = findLinkBrief(socket, { name }, true);
    if (!link)
      throw new CniError(CNI_CODE.tryAgain, `cannot find bridge ${name}: it was removed right after it was made`);
  }
  if (link.kind !== "bridge") {
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

/** Gives the bridge the addresses of the gateways, and has the host forward. `ownPort` names the interface of the container that this is done for. */
export async function ensureGateways(
  socket: RequestSocket,
  bridge: LinkBrief,
  gateways: readonly Prefix[],
  forceAddress: boolean,
  ownPort: string,
): Promise<void> {
  if (gateways.length === 0) return;
  const present = addressesOf(socket, bridge.index);
  for (const gateway of gateways) {
    if (present.has(gateway)) continue;
    const others: Prefix[] = [];
    for (const other of present) if (isInTheWay(other, gateway)) others.push(other);
    if (others.length > 0 && !forceAddress) {
      const { checkReplaceable } = await import("./replaceable.ts");
      checkReplaceable({ socket, bridge, others, gateways, gateway, ownPort });
    }
    for (const address of others) {
      socket.request((writer) => deleteAddress(writer, { index: bridge.index, address }));
      present.delete(address);
    }
    ignoreExisting(() => socket.request((writer) => putAddress(writer, newAddress(bridge.index, gateway), "add")));
    present.add(gateway);
    pinMac(socket, bridge.index, bridge.mac);
  }
  for (const gateway of gateways) {
    setSysctl(prefixFamily(gateway) === "ipv4" ? "ipv4/ip_forward" : "ipv6/conf/all/forwarding", "1");
  }
}

function addressesOf(socket: RequestSocket, index: number): Set<Prefix> {
  const addresses = socket.dump((writer) => dumpAddresses(writer, { index }), decodeAddress);
  // A kernel before 4.20 tells those of all links.
  const own = new Set<Prefix>();
  for (const address of addresses) if (address.index === index) own.add(address.address);
  return own;
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

/** Two containers started at once make the same bridge, and give it the same address. */
function ignoreExisting(act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof AnswerError && error.errno === EEXIST)) throw error;
  }
}
