// The two ends of a virtual cable (linux/veth.h, VETH_INFO_PEER); `ip link add NAME type veth peer name NAME2 [netns
// NS]`. The peer is described by a whole link message inside the attribute: struct ifinfomsg of 16 bytes (link.ts),
// then IFLA_*. A dump says nothing of the peer here: its index is IFLA_LINK.

import type { Mac } from "../ip/mac.ts";
import type { MessageWriter } from "./writer.ts";

const VETH_INFO_PEER = 1;

const IFINFOMSG_LENGTH = 16;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_TXQLEN = 13;
const IFLA_NET_NS_FD = 28;

export interface VethInfo {
  readonly type: "veth";
}

export interface NewVeth {
  readonly type: "veth";
  readonly peer?: {
    readonly name: string;
    /** Open file of the network namespace that the peer is made in. */
    readonly namespaceFd?: number;
    readonly mac?: Mac;
    /** Bytes. */
    readonly mtu?: number;
    readonly transmitQueueLength?: number;
  };
}

export function writeVethInfo(writer: MessageWriter, type: number, { peer }: NewVeth): void {
  if (!peer) return;
  const data = writer.beginNested(type);
  const info = writer.beginNested(VETH_INFO_PEER);
  writer.zeros(IFINFOMSG_LENGTH);
  if (peer.mac) writer.mac(IFLA_ADDRESS, peer.mac);
  if (peer.mtu !== undefined) writer.u32(IFLA_MTU, peer.mtu);
  if (peer.namespaceFd !== undefined) writer.u32(IFLA_NET_NS_FD, peer.namespaceFd);
  if (peer.transmitQueueLength !== undefined) writer.u32(IFLA_TXQLEN, peer.transmitQueueLength);
  writer.text(IFLA_IFNAME, peer.name);
  writer.endNested(info);
  writer.endNested(data);
}
