// Options of an IPv4-in-IPv4 tunnel (linux/if_tunnel.h, IFLA_IPTUN_*; net/ipv4/ipip.c); `ip link add … type ipip …`. An
// address of four zeros means any, a link of zero none.

import type { Address } from "../ip/address.ts";
import type { AttributeReader } from "./attribute.ts";
import type { MessageWriter } from "./writer.ts";

const IFLA_IPTUN_LINK = 1;
const IFLA_IPTUN_LOCAL = 2;
const IFLA_IPTUN_REMOTE = 3;
const IFLA_IPTUN_TTL = 4;
const IFLA_IPTUN_TOS = 5;
const IFLA_IPTUN_PMTUDISC = 10;

export interface IpipInfo {
  readonly type: "ipip";
  /** ifindex of the device that the encapsulated packets must leave by (`dev eth0`). */
  readonly parentIndex: number | undefined;
  /** Source of the encapsulated packets. */
  readonly local: Address | undefined;
  /** Their one destination; without, the gateway of the inner packet's route is. */
  readonly remote: Address | undefined;
  /** Of the encapsulated packets; 0 is that of the inner packet. */
  readonly ttl: number;
  readonly tos: number;
  /** Whether encapsulated packets must not be fragmented; else only those whose inner packet must not. */
  readonly pathMtuDiscovery: boolean;
}

/** Options left out are the kernel's default: any, inherited, and path MTU discovery. */
export type IpipOptions = Pick<IpipInfo, "type"> & Partial<Omit<IpipInfo, "type">>;

export function writeIpipInfo(writer: MessageWriter, type: number, info: IpipOptions): void {
  const data = writer.beginNested(type);
  if (info.parentIndex !== undefined) writer.u32(IFLA_IPTUN_LINK, info.parentIndex);
  if (info.local) writer.address(IFLA_IPTUN_LOCAL, info.local);
  if (info.remote) writer.address(IFLA_IPTUN_REMOTE, info.remote);
  if (info.ttl !== undefined) writer.u8(IFLA_IPTUN_TTL, info.ttl);
  if (info.tos !== undefined) writer.u8(IFLA_IPTUN_TOS, info.tos);
  if (info.pathMtuDiscovery !== undefined) writer.u8(IFLA_IPTUN_PMTUDISC, Number(info.pathMtuDiscovery));
  writer.endNested(data);
}

export function decodeIpipInfo(data: AttributeReader): IpipInfo {
  const info: { -readonly [K in keyof IpipInfo]: IpipInfo[K] } = {
    type: "ipip",
    parentIndex: undefined,
    local: undefined,
    remote: undefined,
    ttl: 0,
    tos: 0,
    pathMtuDiscovery: false,
  };
  while (data.next()) {
    switch (data.type) {
      case IFLA_IPTUN_LINK:
        info.parentIndex = data.u32() || undefined;
        break;
      case IFLA_IPTUN_LOCAL:
        info.local = unlessAny(data.address());
        break;
      case IFLA_IPTUN_REMOTE:
        info.remote = unlessAny(data.address());
        break;
      case IFLA_IPTUN_TTL:
        info.ttl = data.u8();
        break;
      case IFLA_IPTUN_TOS:
        info.tos = data.u8();
        break;
      case IFLA_IPTUN_PMTUDISC:
        info.pathMtuDiscovery = data.u8() !== 0;
        break;
    }
  }
  return info;
}

function unlessAny(address: Address | undefined): Address | undefined {
  return address === "0.0.0.0" ? undefined : address;
}
