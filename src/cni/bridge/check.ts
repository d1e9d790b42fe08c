// CHECK: whether what ADD answered is still so in the kernel: the bridge, both ends of the cable, addresses, routes. Names the first thing that is not.

import { parseAddress } from "../../ip/address.ts";
import { parsePrefix, prefixFamily } from "../../ip/prefix.ts";
import type { LinkMessage } from "../../netlink/link.ts";
import { findLink, listAddresses, listRoutes } from "../../netlink/list.ts";
import { RT_TABLE_MAIN } from "../../netlink/route.ts";
import { RequestSocket } from "../../netlink/socket.ts";
import { inNamespace } from "../../sys/netns.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import type { Request } from "../plugin.ts";
import type { Result, ResultInterface } from "../result.ts";
import type { BridgeConf } from "./conf.ts";
import { addressingOf } from "./gateways.ts";

/** Throws CniError when something differs. */
export function checkAttachment({ call, conf: { prevResult } }: Request, conf: BridgeConf): void {
  if (!prevResult)
    throw new CniError(CNI_CODE.invalidConfig, "required prevResult missing: CHECK compares with what ADD answered");
  const { interfaces } = prevResult;
  const container = interfaces.find(({ name, sandbox }) => name === call.ifname && sandbox === call.netns);
  if (!container) failed(`prevResult has no interface ${call.ifname} in ${call.netns}`);
  using socket = new RequestSocket();
  const bridge = linkOf(socket, conf.bridge, "the host");
  if (bridge.info?.type !== "bridge") failed(`${conf.bridge} is no bridge`);
  const told = interfaces.find(({ name, sandbox }) => name === conf.bridge && !sandbox);
  if (!told) failed(`prevResult has no bridge ${conf.bridge}`);
  if (conf.isGateway) checkMac(bridge, told);
  const inside = inNamespace(call.netns, () => {
    using own = new RequestSocket();
    const link = linkOf(own, call.ifname, call.netns);
    checkMac(link, container);
    if (link.info?.type !== "veth") failed(`${call.ifname} in ${call.netns} is no veth`);
    checkAddresses(own, link, prevResult);
    checkRoutes(own, link, prevResult);
    return link;
  });
  checkHostEnd(socket, inside, bridge, interfaces);
  if (conf.isGateway && prevResult.ips.length > 0) checkGateways(socket, bridge, prevResult, conf);
}

function checkHostEnd(
  socket: RequestSocket,
  inside: LinkMessage,
  bridge: LinkMessage,
  interfaces: readonly ResultInterface[],
): void {
  const host = inside.parentIndex === undefined ? undefined : findLink(socket, { index: inside.parentIndex });
  const told = interfaces.find(({ name, sandbox }) => name !== bridge.name && !sandbox);
  if (!host || !told || host.name !== told.name) {
    failed(
      `the other end of ${inside.name} is ${host?.name ?? "not on this host"}, want ${told?.name ?? "one in prevResult"}`,
    );
  }
  checkMac(host, told);
  if (host.masterIndex !== bridge.index) failed(`${host.name} is not attached to ${bridge.name}`);
}

function checkAddresses(socket: RequestSocket, link: LinkMessage, { ips }: Result): void {
  const present = listAddresses(socket, { index: link.index }).map(({ address }) => address);
  for (const { address } of ips) {
    const wanted = parsePrefix(address);
    if (!wanted || !present.includes(wanted))
      failed(`${link.name} lacks the address ${address}: it has ${present.join(", ") || "none"}`);
  }
}

function checkRoutes(socket: RequestSocket, link: LinkMessage, { routes }: Result): void {
  for (const { dst, gw, table = RT_TABLE_MAIN } of routes) {
    const wanted = parsePrefix(dst);
    const gateway = gw === undefined ? undefined : parseAddress(gw);
    const present = wanted ? listRoutes(socket, { family: prefixFamily(wanted), table, oif: link.index }) : [];
    const found = present.some((route) => route.dst === wanted && (gateway === undefined || route.gateway === gateway));
    if (!found) failed(`the route ${dst}${gw === undefined ? "" : ` via ${gw}`} dev ${link.name} is missing`);
  }
}

function checkGateways(socket: RequestSocket, bridge: LinkMessage, result: Result, conf: BridgeConf): void {
  const present = listAddresses(socket, { index: bridge.index }).map(({ address }) => address);
  const missing = addressingOf(result, conf).gateways.filter((gateway) => !present.includes(gateway));
  if (missing.length > 0) failed(`${bridge.name} lacks the gateway's address ${missing.join(", ")}`);
}

function checkMac(link: LinkMessage, told: ResultInterface): void {
  if (told.mac !== undefined && told.mac !== link.mac) failed(`${link.name} has the MAC ${link.mac}, want ${told.mac}`);
}

function linkOf(socket: RequestSocket, name: string, where: string): LinkMessage {
  return findLink(socket, { name }) ?? failed(`there is no interface ${name} in ${where}`);
}

function failed(what: string): never {
  throw new CniError(
    CNI_CODE.internal,
    `CHECK failed: ${what}; delete the container's network (DEL) and make it anew (ADD)`,
  );
}
