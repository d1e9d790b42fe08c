// IFLA_LINKINFO (linux/if_link.h): which kind of link it is, and the options of that kind, one file per kind. A kind
// that flannel knows nothing of keeps its name and no options.

import type { AttributeReader } from "./attribute.ts";
import type { BridgePort } from "./link_info_bridge.ts";
import {
  type BridgeInfo,
  decodeBridgeInfo,
  decodeBridgePort,
  writeBridgeInfo,
  writeBridgePort,
} from "./link_info_bridge.ts";
import { decodeIpipInfo, type IpipInfo, type IpipOptions, writeIpipInfo } from "./link_info_ipip.ts";
import { decodeTunInfo, type TunInfo } from "./link_info_tun.ts";
import { type NewVeth, type VethInfo, writeVethInfo } from "./link_info_veth.ts";
import { decodeVxlanInfo, type VxlanInfo, type VxlanOptions, writeVxlanInfo } from "./link_info_vxlan.ts";
import type { MessageWriter } from "./writer.ts";

export type { BridgeInfo, BridgePort, IpipInfo, IpipOptions, NewVeth, TunInfo, VethInfo, VxlanInfo, VxlanOptions };

const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const IFLA_INFO_SLAVE_DATA = 5;

/** Of a kind that has no file here: wireguard, dummy, vlan … */
export interface OtherInfo {
  readonly type: "other";
  /** "wireguard" */
  readonly name: string;
}

export type LinkInfo = VxlanInfo | VethInfo | BridgeInfo | TunInfo | IpipInfo | OtherInfo;

/** What can be asked for; a tun device is made by opening /dev/net/tun. */
export type NewLinkInfo = VxlanOptions | NewVeth | BridgeInfo | IpipOptions | OtherInfo;

export function writeLinkInfo(writer: MessageWriter, type: number, info: NewLinkInfo): void {
  const nested = writer.beginNested(type);
  writer.bareText(IFLA_INFO_KIND, info.type === "other" ? info.name : info.type);
  switch (info.type) {
    case "vxlan":
      writeVxlanInfo(writer, IFLA_INFO_DATA, info);
      break;
    case "veth":
      writeVethInfo(writer, IFLA_INFO_DATA, info);
      break;
    case "bridge":
      writeBridgeInfo(writer, IFLA_INFO_DATA, info);
      break;
    case "ipip":
      writeIpipInfo(writer, IFLA_INFO_DATA, info);
      break;
    case "other":
      break;
  }
  writer.endNested(nested);
}

/**
 * A port's options are told to its bridge's driver; the kind, which the kernel does not look at here, is the one that
 * `ip` says.
 */
export function writePortInfo(writer: MessageWriter, type: number, port: BridgePort): void {
  const nested = writer.beginNested(type);
  writer.bareText(IFLA_INFO_KIND, "bridge_slave");
  writeBridgePort(writer, IFLA_INFO_SLAVE_DATA, port);
  writer.endNested(nested);
}

export function decodeLinkInfo(attributes: AttributeReader): {
  info: LinkInfo | undefined;
  port: BridgePort | undefined;
} {
  let kind: string | undefined;
  let masterKind: string | undefined;
  let info: LinkInfo | undefined;
  let port: BridgePort | undefined;
  while (attributes.next()) {
    switch (attributes.type) {
      case IFLA_INFO_KIND:
        kind = attributes.text();
        break;
      case IFLA_INFO_DATA:
        info = decodeData(kind, attributes.nested());
        break;
      case IFLA_INFO_SLAVE_KIND:
        masterKind = attributes.text();
        break;
      case IFLA_INFO_SLAVE_DATA:
        if (masterKind === "bridge") port = decodeBridgePort(attributes.nested());
        break;
    }
  }
  return { info: info ?? withoutData(kind), port };
}

/** The kernel puts the kind before the data. */
function decodeData(kind: string | undefined, data: AttributeReader): LinkInfo | undefined {
  switch (kind) {
    case "vxlan":
      return decodeVxlanInfo(data);
    case "bridge":
      return decodeBridgeInfo(data);
    case "ipip":
      return decodeIpipInfo(data);
    case "tun":
      return decodeTunInfo(data);
    default:
      return undefined;
  }
}

function withoutData(kind: string | undefined): LinkInfo | undefined {
  if (kind === undefined) return undefined;
  return kind === "veth" ? { type: "veth" } : { type: "other", name: kind };
}
