// Options of a vxlan device (linux/if_link.h, IFLA_VXLAN_*; drivers/net/vxlan); `ip link add … type vxlan …`. Put and
// dumped forms differ: GBP is a flag in both, other switches are a byte; local and group have an attribute per family;
// the port is in network order. The codec knows one form.

import type { Address } from "../ip/address.ts";
import { familyOf } from "../ip/address.ts";
import type { AttributeReader } from "./attribute.ts";
import type { MessageWriter } from "./writer.ts";

const IFLA_VXLAN_ID = 1;
const IFLA_VXLAN_GROUP = 2;
const IFLA_VXLAN_LINK = 3;
const IFLA_VXLAN_LOCAL = 4;
const IFLA_VXLAN_TTL = 5;
const IFLA_VXLAN_TOS = 6;
const IFLA_VXLAN_LEARNING = 7;
const IFLA_VXLAN_AGEING = 8;
const IFLA_VXLAN_PROXY = 11;
const IFLA_VXLAN_L2MISS = 13;
const IFLA_VXLAN_L3MISS = 14;
const IFLA_VXLAN_PORT = 15;
const IFLA_VXLAN_GROUP6 = 16;
const IFLA_VXLAN_LOCAL6 = 17;
const IFLA_VXLAN_UDP_CSUM = 18;
const IFLA_VXLAN_UDP_ZERO_CSUM6_TX = 19;
const IFLA_VXLAN_UDP_ZERO_CSUM6_RX = 20;
const IFLA_VXLAN_GBP = 23;
const IFLA_VXLAN_COLLECT_METADATA = 25;

export interface VxlanInfo {
  readonly type: "vxlan";
  readonly vni: number;
  /** ifindex of the device that carries the encapsulated packets (`dev eth0`). */
  readonly parentIndex: number | undefined;
  /** Source of the encapsulated packets. */
  readonly local: Address | undefined;
  /** Where packets for unknown MACs go: a multicast group or one node. */
  readonly group: Address | undefined;
  /** UDP destination port; 8472 is the kernel's default, 4789 IANA's. */
  readonly port: number;
  /** Whether it learns MACs from received packets. */
  readonly learning: boolean;
  /** Group policy extension. */
  readonly gbp: boolean;
  /** Whether it reports unknown MACs and unknown neighbours by netlink. */
  readonly l2miss: boolean;
  readonly l3miss: boolean;
  /** Answers ARP and neighbour solicitations itself. */
  readonly proxy: boolean;
  /** Of the encapsulated packets; 0 is inherited or the host's default. */
  readonly ttl: number;
  readonly tos: number;
  readonly ageingSeconds: number;
  readonly udpChecksum: boolean;
  /** UDP over IPv6 without checksum, sent and accepted. */
  readonly udpZeroChecksum6Send: boolean;
  readonly udpZeroChecksum6Receive: boolean;
  /** Destination and VNI come with each packet (`external`). */
  readonly external: boolean;
}

/** Options left out are the kernel's default, or stay as they are in a change. */
export type VxlanOptions = Pick<VxlanInfo, "type"> & Partial<Omit<VxlanInfo, "type">>;

const DEFAULTS: Omit<VxlanInfo, "type" | "vni"> = {
  parentIndex: undefined,
  local: undefined,
  group: undefined,
  port: 8472,
  learning: true,
  gbp: false,
  l2miss: false,
  l3miss: false,
  proxy: false,
  ttl: 0,
  tos: 0,
  ageingSeconds: 300,
  udpChecksum: true,
  udpZeroChecksum6Send: false,
  udpZeroChecksum6Receive: false,
  external: false,
};

export function writeVxlanInfo(writer: MessageWriter, type: number, info: VxlanOptions): void {
  const data = writer.beginNested(type);
  const byte = (attribute: number, value: number | boolean | undefined) => {
    if (value !== undefined) writer.u8(attribute, Number(value));
  };
  const address = (attribute: number, attribute6: number, value: Address | undefined) => {
    if (value) writer.address(familyOf(value) === "ipv4" ? attribute : attribute6, value);
  };
  if (info.parentIndex !== undefined) writer.u32(IFLA_VXLAN_LINK, info.parentIndex);
  if (info.gbp) writer.flag(IFLA_VXLAN_GBP);
  if (info.vni !== undefined) writer.u32(IFLA_VXLAN_ID, info.vni);
  address(IFLA_VXLAN_GROUP, IFLA_VXLAN_GROUP6, info.group);
  address(IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6, info.local);
  byte(IFLA_VXLAN_TTL, info.ttl);
  byte(IFLA_VXLAN_TOS, info.tos);
  byte(IFLA_VXLAN_LEARNING, info.learning);
  if (info.ageingSeconds !== undefined) writer.u32(IFLA_VXLAN_AGEING, info.ageingSeconds);
  byte(IFLA_VXLAN_PROXY, info.proxy);
  byte(IFLA_VXLAN_L2MISS, info.l2miss);
  byte(IFLA_VXLAN_L3MISS, info.l3miss);
  if (info.port !== undefined) writer.u16be(IFLA_VXLAN_PORT, info.port);
  byte(IFLA_VXLAN_UDP_CSUM, info.udpChecksum);
  byte(IFLA_VXLAN_UDP_ZERO_CSUM6_TX, info.udpZeroChecksum6Send);
  byte(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, info.udpZeroChecksum6Receive);
  byte(IFLA_VXLAN_COLLECT_METADATA, info.external);
  writer.endNested(data);
}

export function decodeVxlanInfo(data: AttributeReader): VxlanInfo {
  const info: { -readonly [K in keyof VxlanInfo]: VxlanInfo[K] } = { type: "vxlan", vni: 0, ...DEFAULTS };
  while (data.next()) {
    switch (data.type) {
      case IFLA_VXLAN_ID:
        info.vni = data.u32();
        break;
      case IFLA_VXLAN_GROUP:
      case IFLA_VXLAN_GROUP6:
        info.group = data.address();
        break;
      case IFLA_VXLAN_LINK:
        info.parentIndex = data.u32();
        break;
      case IFLA_VXLAN_LOCAL:
      case IFLA_VXLAN_LOCAL6:
        info.local = data.address();
        break;
      case IFLA_VXLAN_TTL:
        info.ttl = data.u8();
        break;
      case IFLA_VXLAN_TOS:
        info.tos = data.u8();
        break;
      case IFLA_VXLAN_LEARNING:
        info.learning = data.u8() !== 0;
        break;
      case IFLA_VXLAN_AGEING:
        info.ageingSeconds = data.u32();
        break;
      case IFLA_VXLAN_PROXY:
        info.proxy = data.u8() !== 0;
        break;
      case IFLA_VXLAN_L2MISS:
        info.l2miss = data.u8() !== 0;
        break;
      case IFLA_VXLAN_L3MISS:
        info.l3miss = data.u8() !== 0;
        break;
      case IFLA_VXLAN_PORT:
        info.port = data.u16be();
        break;
      case IFLA_VXLAN_UDP_CSUM:
        info.udpChecksum = data.u8() !== 0;
        break;
      case IFLA_VXLAN_UDP_ZERO_CSUM6_TX:
        info.udpZeroChecksum6Send = data.u8() !== 0;
        break;
      case IFLA_VXLAN_UDP_ZERO_CSUM6_RX:
        info.udpZeroChecksum6Receive = data.u8() !== 0;
        break;
      case IFLA_VXLAN_GBP:
        info.gbp = true;
        break;
      case IFLA_VXLAN_COLLECT_METADATA:
        info.external = data.u8() !== 0;
        break;
    }
  }
  return info;
}
