// Links, that is network devices (linux/if_link.h); `ip link`. What is special to a kind of link stands in a file of
// its own: link_info.ts and link_info_*.ts.
//
// struct ifinfomsg, 16 bytes:
//   0  u8 ifi_family   2  u16 ifi_type (ARPHRD_*)   4  i32 ifi_index   8  u32 ifi_flags (IFF_*)
//   12 u32 ifi_change (which flags a request means)

import type { Mac } from "../ip/mac.ts";
import { AF_UNSPEC } from "./family.ts";
import {
  type BridgePort,
  decodeLinkInfo,
  type LinkInfo,
  type NewLinkInfo,
  writeLinkInfo,
  writePortInfo,
} from "./link_info.ts";
import { type MessageReader, NLM_F_DUMP, PUT_FLAGS } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;

export const IFINFOMSG_LENGTH = 16;

export const IFLA_ADDRESS = 1;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_TXQLEN = 13;
export const IFLA_OPERSTATE = 16;
export const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const IFLA_LINK_NETNSID = 37;

export const IFLA_INFO_KIND = 1;

/** Leaves out the counters of IPv6, a third of an answer. */
const RTEXT_FILTER_SKIP_STATS = 1 << 3;

/** linux/if.h */
export const IFF_UP = 0x1;
export const IFF_BROADCAST = 0x2;
export const IFF_LOOPBACK = 0x8;
export const IFF_POINTOPOINT = 0x10;
export const IFF_RUNNING = 0x40;
export const IFF_NOARP = 0x80;
export const IFF_PROMISC = 0x100;
export const IFF_LOWER_UP = 0x10000;

/** linux/if.h; RFC 2863 */
export const IF_OPER_UNKNOWN = 0;
export const IF_OPER_DOWN = 2;
export const IF_OPER_LOWERLAYERDOWN = 3;
export const IF_OPER_UP = 6;

export interface LinkMessage {
  readonly kind: "link";
  readonly index: number;
  readonly name: string;
  /** IFF_* */
  readonly flags: number;
  /** ARPHRD_* of linux/if_arp.h: 1 Ethernet, 772 loopback, 65534 none (tun). */
  readonly hardwareType: number;
  /** Bytes. */
  readonly mtu: number | undefined;
  readonly mac: Mac | undefined;
  /** ifindex of the bridge (bond, VRF) that it is a port of. */
  readonly masterIndex: number | undefined;
  /**
   * IFLA_LINK: ifindex of the parent, or of a veth's other end; in another namespace when parentNamespaceId is given.
   */
  readonly parentIndex: number | undefined;
  /** IFLA_LINK_NETNSID: number by which this namespace knows the other (nsid.ts). */
  readonly parentNamespaceId: number | undefined;
  readonly alias: string | undefined;
  /** IF_OPER_* */
  readonly operstate: number | undefined;
  /** What kind of link it is; undefined for hardware and loopback. */
  readonly info: LinkInfo | undefined;
  /** As a port of a bridge. */
  readonly port: BridgePort | undefined;
}

export interface NewLink {
  readonly name: string;
  readonly info: NewLinkInfo;
  readonly mtu?: number;
  readonly mac?: Mac;
  readonly masterIndex?: number;
  /** As `link` of `ip link add`; a vxlan has its parent in `info`. */
  readonly parentIndex?: number;
  readonly alias?: string;
  /** Packets that a queue of it may hold; the kind's default otherwise. */
  readonly transmitQueueLength?: number;
  /** Index to have; the kernel's choice otherwise. */
  readonly index?: number;
  /** Open file of the network namespace to make it in. */
  readonly namespaceFd?: number;
  readonly up?: boolean;
}

/** Fields left out stay as they are. A vxlan device refuses `mtu` in one message with `info` (EOPNOTSUPP). */
export interface LinkChange {
  readonly name?: string;
  readonly mtu?: number;
  readonly transmitQueueLength?: number;
  readonly mac?: Mac;
  /** 0 takes it out of its bridge. */
  readonly masterIndex?: number;
  readonly alias?: string;
  readonly up?: boolean;
  readonly promiscuous?: boolean;
  /** Options of its kind, or as a port of a bridge (one message holds one of the two); those left out stay. */
  readonly info?: NewLinkInfo;
  readonly port?: BridgePort;
  /** Open file of the network namespace to move it to. */
  readonly namespaceFd?: number;
}

/** `ip link add NAME … type KIND …` */
export function addLink(writer: MessageWriter, link: NewLink): void {
  writer.begin(RTM_NEWLINK, PUT_FLAGS.add, IFINFOMSG_LENGTH);
  writer.setU32(4, link.index ?? 0);
  writeFields(writer, link);
  if (link.parentIndex !== undefined) writer.u32(IFLA_LINK, link.parentIndex);
  writeLinkInfo(writer, IFLA_LINKINFO, link.info);
  writer.end();
}

/** `ip link set dev DEV …`. With index 0, `change.name` says which link is meant. */
export function changeLink(writer: MessageWriter, index: number, change: LinkChange): void {
  writer.begin(RTM_NEWLINK, 0, IFINFOMSG_LENGTH);
  writer.setU32(4, index);
  writeFields(writer, change);
  if (change.info) writeLinkInfo(writer, IFLA_LINKINFO, change.info);
  else if (change.port) writePortInfo(writer, IFLA_LINKINFO, change.port);
  writer.end();
}

/** `ip link delete dev DEV` */
export function deleteLink(writer: MessageWriter, link: number | { readonly name: string }): void {
  writer.begin(RTM_DELLINK, 0, IFINFOMSG_LENGTH);
  if (typeof link === "number") writer.setU32(4, link);
  else writer.text(IFLA_IFNAME, link.name);
  writer.end();
}

/** `ip link show dev DEV` */
export function getLink(writer: MessageWriter, link: { readonly name: string } | { readonly index: number }): void {
  writer.begin(RTM_GETLINK, 0, IFINFOMSG_LENGTH);
  if ("index" in link) writer.setU32(4, link.index);
  writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if ("name" in link) writer.text(IFLA_IFNAME, link.name);
  writer.end();
}

export interface LinkFilter {
  /** Name of the kind: "vxlan". */
  readonly type?: string;
  readonly masterIndex?: number;
}

/** `ip link show [type KIND] [master DEV]` */
export function dumpLinks(writer: MessageWriter, filter: LinkFilter = {}): void {
  writer.begin(RTM_GETLINK, NLM_F_DUMP, IFINFOMSG_LENGTH);
  writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if (filter.masterIndex !== undefined) writer.u32(IFLA_MASTER, filter.masterIndex);
  if (filter.type !== undefined) {
    const info = writer.beginNested(IFLA_LINKINFO);
    writer.bareText(IFLA_INFO_KIND, filter.type);
    writer.endNested(info);
  }
  writer.end();
}

/** undefined for messages that bridges and IPv6 send about a link in their own families, which lack most fields. */
export function decodeLink(message: MessageReader): LinkMessage | undefined {
  const attributes = message.attributes(IFINFOMSG_LENGTH);
  if (message.u8(0) !== AF_UNSPEC) return undefined;
  let name = "";
  let mtu: number | undefined;
  let mac: Mac | undefined;
  let masterIndex: number | undefined;
  let parentIndex: number | undefined;
  let parentNamespaceId: number | undefined;
  let alias: string | undefined;
  let operstate: number | undefined;
  let info: LinkInfo | undefined;
  let port: BridgePort | undefined;
  while (attributes.next()) {
    switch (attributes.type) {
      case IFLA_IFNAME:
        name = attributes.text();
        break;
      case IFLA_MTU:
        mtu = attributes.u32();
        break;
      case IFLA_ADDRESS:
        mac = attributes.mac();
        break;
      case IFLA_MASTER:
        masterIndex = attributes.u32();
        break;
      case IFLA_LINK:
        parentIndex = attributes.u32();
        break;
      case IFLA_LINK_NETNSID:
        parentNamespaceId = attributes.i32();
        break;
      case IFLA_IFALIAS:
        alias = attributes.text();
        break;
      case IFLA_OPERSTATE:
        operstate = attributes.u8();
        break;
      case IFLA_LINKINFO:
        ({ info, port } = decodeLinkInfo(attributes.nested()));
        break;
    }
  }
  return {
    kind: "link",
    index: message.i32(4),
    name,
    flags: message.u32(8),
    hardwareType: message.u16(2),
    mtu,
    mac,
    masterIndex,
    parentIndex,
    parentNamespaceId,
    alias,
    operstate,
    info,
    port,
  };
}

/** What making and changing have in common; flags go in pairs, the value and that it is meant. */
function writeFields(writer: MessageWriter, link: Omit<LinkChange, "info" | "port">): void {
  let flags = 0;
  let change = 0;
  if (link.up !== undefined) {
    change |= IFF_UP;
    if (link.up) flags |= IFF_UP;
  }
  if (link.promiscuous !== undefined) {
    change |= IFF_PROMISC;
    if (link.promiscuous) flags |= IFF_PROMISC;
  }
  writer.setU32(8, flags);
  writer.setU32(12, change);
  if (link.mtu !== undefined) writer.u32(IFLA_MTU, link.mtu);
  if (link.transmitQueueLength !== undefined) writer.u32(IFLA_TXQLEN, link.transmitQueueLength);
  if (link.mac) writer.mac(IFLA_ADDRESS, link.mac);
  if (link.masterIndex !== undefined) writer.u32(IFLA_MASTER, link.masterIndex);
  if (link.alias !== undefined) writer.bareText(IFLA_IFALIAS, link.alias);
  if (link.namespaceFd !== undefined) writer.u32(IFLA_NET_NS_FD, link.namespaceFd);
  if (link.name !== undefined) writer.text(IFLA_IFNAME, link.name);
}
