// The plugin `bridge`: a cable from the container to a bridge of the host, which is the container's gateway when asked. Results, links, addresses, routes and
// rules are those of the reference plugin; STATUS and GC, which it lacks, are the specification's (CNI 1.1.0).
//
// ADD asks IPAM first, so that a full range costs nothing; what follows is undone when a later step fails. A process that is killed leaves at most the
// cable, the addresses and the rules, and DEL removes each without the others.
//
// upstream: the reference makes bridge and cable before it asks IPAM, keeps the rules of `ipMasq` when the namespace is gone at DEL, and (1.1) drops the name
// servers that IPAM names.

import type { Prefix } from "../../ip/prefix.ts";
import { AnswerError } from "../../netlink/error.ts";
import { IF_OPER_UP } from "../../netlink/link.ts";
import { findLinkBrief, type LinkBrief } from "../../netlink/link_brief.ts";
import { RequestSocket } from "../../netlink/socket.ts";
import { EINVAL, ENODEV, ENOENT, SysError } from "../../sys/error.ts";
import { withNamespaceFd } from "../../sys/netns.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import type { Plugin, Request } from "../plugin.ts";
import type { Result, ResultInterface } from "../result.ts";
import { ensureBridge, ensureGateways } from "./bridge_link.ts";
import { type BridgeConf, readBridgeConf, readUndoConf } from "./conf.ts";
import { configureContainer, removeFromContainer } from "./container.ts";
import { type Addressing, addressingOf } from "./gateways.ts";
import { addVeth, removeLink } from "./veth.ts";

export const bridge: Plugin = {
  type: "bridge",
  async add(request) {
    const conf = readBridgeConf(request.conf, request.call.args);
    if (conf.ipam === undefined) return await attach(request, conf, undefined);
    const given = await request.delegate.add(conf.ipam, request.conf);
    try {
      return await attach(request, conf, given);
    } catch (error) {
      await request.delegate.del(conf.ipam, request.conf).catch(() => {}); // the first error is the one to tell
      throw error;
    }
  },

  async del({ call, conf, delegate }) {
    const { ipam, masquerade } = readUndoConf(conf);
    if (call.netns !== "") removeUnlessGone(call.netns, call.ifname);
    // Before the address can be another container's.
    if (masquerade) (await import("./masquerade.ts")).removeMasquerade(conf.name, call.containerId);
    if (ipam !== undefined) await delegate.del(ipam, conf);
  },

  async check(request) {
    const { checkAttachment } = await import("./check.ts");
    const conf = readBridgeConf(request.conf, request.call.args);
    if (conf.ipam !== undefined) await request.delegate.check(conf.ipam, request.conf);
    checkAttachment(request, conf);
  },

  async status({ call, conf, delegate }) {
    const { ipam } = readBridgeConf(conf, call.args);
    if (ipam !== undefined) await delegate.status(ipam, conf);
  },

  async gc({ conf, delegate }, valid) {
    const { ipam, masquerade } = readUndoConf(conf);
    const faults: unknown[] = [];
    if (masquerade) {
      const { removeStaleMasquerade } = await import("./masquerade.ts");
      try {
        removeStaleMasquerade(
          conf.name,
          valid.map(({ containerId }) => containerId),
        );
      } catch (error) {
        faults.push(error);
      }
    }
    if (ipam !== undefined) await delegate.gc(ipam, conf).catch((error: unknown) => faults.push(error));
    if (faults.length > 0) throw faults[0];
  },
};

/** Makes everything that is the container's, and unmakes it when it cannot be finished. */
async function attach(
  { call, conf: { name: network } }: Request,
  conf: BridgeConf,
  given: Result | undefined,
): Promise<Result> {
  const addressing = given && addressingOf(given, conf);
  using socket = new RequestSocket();
  const bridgeLink = ensureBridge(socket, conf);
  const hostName = openNamespace(call.netns, (namespaceFd) =>
    addVeth(socket, { ...conf, bridgeIndex: bridgeLink.index, ifname: call.ifname, namespaceFd, randomName }),
  );
  try {
    const container = configureContainer(call.netns, call.ifname, addressing);
    const host = await portOf(socket, hostName);
    if (addressing) await ensureGateways(socket, bridgeLink, addressing.gateways, conf.forceAddress, hostName);
    if (addressing && conf.masquerade) await masquerade(network, call.containerId, addressing.addresses);
    // Its MAC may have become that of its first port.
    const bridgeNow = findLinkBrief(socket, { index: bridgeLink.index }) ?? bridgeLink;
    const interfaces = [interfaceOf(bridgeNow), interfaceOf(host), { ...interfaceOf(container), sandbox: call.netns }];
    return resultOf(interfaces, conf, addressing, given);
  } catch (error) {
    removeLink(socket, hostName);
    throw error;
  }
}

function resultOf(
  interfaces: readonly ResultInterface[],
  conf: BridgeConf,
  addressing: Addressing | undefined,
  given: Result | undefined,
): Result {
  const dns = conf.dns ?? given?.dns ?? {};
  return { interfaces, ips: addressing?.ips ?? [], routes: addressing?.routes ?? [], dns };
}

function interfaceOf({ name, mac, mtu }: LinkBrief): ResultInterface {
  return { name, ...(mac && { mac }), ...(mtu !== undefined && { mtu }) };
}

/** All of the rules or none. */
async function masquerade(network: string, containerId: string, addresses: readonly Prefix[]): Promise<void> {
  const { addMasquerade, removeMasquerade } = await import("./masquerade.ts");
  try {
    addMasquerade(network, containerId, addresses);
  } catch (error) {
    try {
      removeMasquerade(network, containerId);
    } catch {
      // The first error is the one to tell.
    }
    throw error;
  }
}

/** The host's end. A container is told that it has a network when its first packet will pass: the port forwards once the link counts as up. */
async function portOf(socket: RequestSocket, name: string): Promise<LinkBrief> {
  const link = findLinkBrief(socket, { name });
  if (!link) throw new CniError(CNI_CODE.internal, `cannot find ${name}: it was removed meanwhile`);
  // Asking makes a kernel from 6.8 on count it at once.
  if (link.operstate === IF_OPER_UP) return link;
  const { waitUntilUp } = await import("./port_up.ts");
  waitUntilUp(socket, link.index);
  return link;
}

function openNamespace<T>(netns: string, act: (namespaceFd: number) => T): T {
  try {
    return withNamespaceFd(netns, act);
  } catch (error) {
    if (!(error instanceof SysError && error.subject === netns)) throw error;
    throw new CniError(CNI_CODE.invalidNetns, `failed to open netns "${netns}": ${error.message}`);
  }
}

/** A namespace that is gone took its end of the cable along, and with it the other. */
function removeUnlessGone(netns: string, ifname: string): void {
  try {
    removeFromContainer(netns, ifname);
  } catch (error) {
    const gone = error instanceof SysError && error.subject === netns && [ENOENT, EINVAL].includes(error.errno);
    if (!gone && !(error instanceof AnswerError && error.errno === ENODEV)) throw error;
  }
}

/** Eight hex digits: enough by chance, since a name that is taken is tried again, and sooner to be had than by the runtime's cryptography. */
function randomName(): string {
  return Math.floor(Math.random() * 2 ** 32)
    .toString(16)
    .padStart(8, "0");
}
