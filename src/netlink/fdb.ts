// Forwarding entries, MAC → where it lives: on a vxlan device the underlay address of a node, on a bridge a port;
// `bridge fdb`. The messages are those of neighbours with family AF_BRIDGE (linux/neighbour.h, struct ndmsg:
// neighbour.ts), and NTF_SELF or NTF_MASTER says whose table is meant.

import type { Address } from "../ip/address.ts";
import type { Mac } from "../ip/mac.ts";
import { AF_BRIDGE } from "./family.ts";
import { type MessageReader, NLM_F_DUMP, PUT_FLAGS, type PutMode } from "./message.ts";
import {
  NDA_CACHEINFO,
  NDA_DST,
  NDA_IFINDEX,
  NDA_LLADDR,
  NDMSG_LENGTH,
  NTF_SELF,
  NUD_NOARP,
  NUD_PERMANENT,
  RTM_DELNEIGH,
  RTM_GETNEIGH,
  RTM_NEWNEIGH,
} from "./neighbour.ts";
import type { MessageWriter } from "./writer.ts";

const NDA_VLAN = 5;
const NDA_PORT = 6;
const NDA_VNI = 7;
const NDA_MASTER = 9;
const NDA_NH_ID = 13;

export interface FdbMessage {
  readonly kind: "fdb";
  /** ifindex of the vxlan device or of the bridge port. */
  readonly index: number;
  /** 00:00:00:00:00:00 is the vxlan default: where unknown MACs are sent. */
  readonly mac: Mac;
  /** vxlan: underlay address of the node behind which the MAC lives. */
  readonly dst: Address | undefined;
  /** vxlan: UDP port and VNI, where they differ from the device's. */
  readonly port: number | undefined;
  readonly vni: number | undefined;
  /** vxlan: ifindex of the link to send through, where it differs from the device's parent. */
  readonly viaIndex: number | undefined;
  /** vxlan: id of a nexthop group in place of `dst`. */
  readonly nexthopId: number | undefined;
  /** Bridge: ifindex of the bridge whose table this is. */
  readonly masterIndex: number | undefined;
  /** Bridge: VLAN id. */
  readonly vlan: number | undefined;
  /** NUD_*: permanent, or reachable when learnt; vxlan entries made as permanent come back so. */
  readonly state: number;
  /** NTF_*; self is the device's own table. */
  readonly flags: number;
}

export type FdbKey = Pick<FdbMessage, "index" | "mac"> & Partial<Pick<FdbMessage, "dst" | "flags" | "vlan">>;
export type NewFdb = Pick<FdbMessage, "index" | "mac"> & Partial<Omit<FdbMessage, "kind" | "index" | "mac">>;

/** `bridge fdb add|replace|append MAC dev DEV dst ADDRESS self permanent`; state and flags are these unless given. */
export function putFdb(writer: MessageWriter, fdb: NewFdb, mode: PutMode): void {
  begin(writer, RTM_NEWNEIGH, PUT_FLAGS[mode], fdb, fdb.state ?? NUD_PERMANENT | NUD_NOARP);
  if (fdb.port !== undefined) writer.u16be(NDA_PORT, fdb.port);
  if (fdb.vni !== undefined) writer.u32(NDA_VNI, fdb.vni);
  if (fdb.viaIndex !== undefined) writer.u32(NDA_IFINDEX, fdb.viaIndex);
  if (fdb.nexthopId !== undefined) writer.u32(NDA_NH_ID, fdb.nexthopId);
  writer.end();
}

/** `bridge fdb delete MAC dev DEV [dst ADDRESS] self`; without `dst` a vxlan device loses all entries of the MAC. */
export function deleteFdb(writer: MessageWriter, fdb: FdbKey): void {
  begin(writer, RTM_DELNEIGH, 0, fdb, NUD_PERMANENT | NUD_NOARP);
  writer.end();
}

export interface FdbFilter {
  /** ifindex of the vxlan device or bridge port. */
  readonly index?: number;
  /** ifindex of the bridge. */
  readonly masterIndex?: number;
}

/** `bridge fdb show [dev DEV] [br BRIDGE]` */
export function dumpFdb(writer: MessageWriter, filter: FdbFilter = {}): void {
  writer.begin(RTM_GETNEIGH, NLM_F_DUMP, NDMSG_LENGTH);
  writer.setU8(0, AF_BRIDGE);
  writer.setU32(4, filter.index ?? 0);
  if (filter.masterIndex !== undefined) writer.u32(NDA_MASTER, filter.masterIndex);
  writer.end();
}

/** undefined for what is no forwarding entry of a MAC. */
export function decodeFdb(message: MessageReader): FdbMessage | undefined {
  const attributes = message.attributes(NDMSG_LENGTH);
  if (message.u8(0) !== AF_BRIDGE) return undefined;
  let mac: Mac | undefined;
  let dst: Address | undefined;
  let port: number | undefined;
  let vni: number | undefined;
  let viaIndex: number | undefined;
  let nexthopId: number | undefined;
  let masterIndex: number | undefined;
  let vlan: number | undefined;
  while (attributes.next()) {
    switch (attributes.type) {
      case NDA_LLADDR:
        mac = attributes.mac();
        break;
      case NDA_DST:
        dst = attributes.address();
        break;
      case NDA_PORT:
        port = attributes.u16be();
        break;
      case NDA_VNI:
        vni = attributes.u32();
        break;
      case NDA_IFINDEX:
        viaIndex = attributes.u32();
        break;
      case NDA_NH_ID:
        nexthopId = attributes.u32();
        break;
      case NDA_MASTER:
        masterIndex = attributes.u32();
        break;
      case NDA_VLAN:
        vlan = attributes.u16();
        break;
    }
  }
  if (!mac) return undefined;
  const index = message.i32(4);
  const state = message.u16(8);
  const flags = message.u8(10);
  return { kind: "fdb", index, mac, dst, port, vni, viaIndex, nexthopId, masterIndex, vlan, state, flags };
}

/**
 * The entry that a notification tells of. Older kernels (6.1 does, 6.18 does not) follow the vxlan device's own news of a requested change by a second
 * message (rtnl_fdb_notify in net/core/rtnetlink.c): the MAC alone, without a destination, as if the entry had lost it. It is known by the missing
 * NDA_CACHEINFO, which tables put into every entry, and is no news: undefined.
 */
export function decodeFdbNotification(message: MessageReader): FdbMessage | undefined {
  const attributes = message.attributes(NDMSG_LENGTH);
  while (attributes.next()) if (attributes.type === NDA_CACHEINFO) return decodeFdb(message);
  return undefined;
}

function begin(writer: MessageWriter, type: number, messageFlags: number, fdb: FdbKey, state: number): void {
  writer.begin(type, messageFlags, NDMSG_LENGTH);
  writer.setU8(0, AF_BRIDGE);
  writer.setU32(4, fdb.index);
  writer.setU16(8, state);
  writer.setU8(10, fdb.flags ?? NTF_SELF);
  writer.mac(NDA_LLADDR, fdb.mac);
  if (fdb.dst) writer.address(NDA_DST, fdb.dst);
  if (fdb.vlan !== undefined) writer.u16(NDA_VLAN, fdb.vlan);
}
