// Nexthop objects (linux/nexthop.h, Linux ≥ 5.3); `ip nexthop`. Routes name one by its id, and the kernel finds it by
// hash, where gateways written into each route of one device share a bucket.
//
// struct nhmsg, 8 bytes:
//   0  u8 nh_family   1  u8 nh_scope (answers only)   2  u8 nh_protocol   3  u8 reserved   4  u32 nh_flags (RTNH_F_*)

import { type Address, familyOf } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";
import { AF_INET, familyFromNumber, familyNumber } from "./family.ts";
import { type MessageReader, NLM_F_DUMP, PUT_FLAGS, type PutMode } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

export const RTM_NEWNEXTHOP = 104;
export const RTM_DELNEXTHOP = 105;
export const RTM_GETNEXTHOP = 106;

const NHMSG_LENGTH = 8;

const NHA_ID = 1;
const NHA_GROUP = 2;
const NHA_BLACKHOLE = 4;
const NHA_OIF = 5;
const NHA_GATEWAY = 6;
const NHA_FDB = 11;

/** The device is gone or down. */
export const RTNH_F_DEAD = 0x01;
/** The gateway need not be in a subnet of the device. */
export const RTNH_F_ONLINK = 0x04;
/** The device has no carrier. */
export const RTNH_F_LINKDOWN = 0x10;

export interface NexthopMessage {
  readonly kind: "nexthop";
  readonly id: number;
  /** undefined for a group. */
  readonly family: Family | undefined;
  /** ifindex of the device. */
  readonly oif: number | undefined;
  readonly gateway: Address | undefined;
  /** RTNH_F_* */
  readonly flags: number;
  /** RTPROT_*: who made it (route.ts). */
  readonly protocol: number;
  /** RT_SCOPE_* */
  readonly scope: number;
  readonly blackhole: boolean;
  /** For entries of a vxlan forwarding table, not for routes. */
  readonly fdb: boolean;
  readonly group: readonly NexthopMember[] | undefined;
}

export interface NexthopMember {
  readonly id: number;
  /** 1 to 65536. */
  readonly weight: number;
}

/** id 0 lets the kernel choose. */
export type NewNexthop = Pick<NexthopMessage, "id"> &
  Partial<Pick<NexthopMessage, "family" | "oif" | "gateway" | "flags" | "protocol" | "blackhole" | "fdb">>;

/**
 * `ip nexthop add|replace id ID via GATEWAY dev DEV [onlink] protocol PROTOCOL`; the family is the gateway's when it is
 * not given.
 */
export function putNexthop(writer: MessageWriter, nexthop: NewNexthop, mode: PutMode): void {
  const { id, oif, gateway, flags = 0, protocol = 0 } = nexthop;
  const family = nexthop.family ?? (gateway && familyOf(gateway));
  writer.begin(RTM_NEWNEXTHOP, PUT_FLAGS[mode], NHMSG_LENGTH);
  writer.setU8(0, family ? familyNumber(family) : AF_INET);
  writer.setU8(2, protocol);
  writer.setU32(4, flags);
  if (id !== 0) writer.u32(NHA_ID, id);
  if (gateway) writer.address(NHA_GATEWAY, gateway);
  if (oif !== undefined) writer.u32(NHA_OIF, oif);
  if (nexthop.blackhole) writer.flag(NHA_BLACKHOLE);
  if (nexthop.fdb) writer.flag(NHA_FDB);
  writer.end();
}

/** `ip nexthop delete id ID`; the kernel deletes the routes through it, without a message for each. */
export function deleteNexthop(writer: MessageWriter, id: number): void {
  writer.begin(RTM_DELNEXTHOP, 0, NHMSG_LENGTH);
  writer.u32(NHA_ID, id);
  writer.end();
}

/** `ip nexthop get id ID` */
export function getNexthop(writer: MessageWriter, id: number): void {
  writer.begin(RTM_GETNEXTHOP, 0, NHMSG_LENGTH);
  writer.u32(NHA_ID, id);
  writer.end();
}

export interface NexthopFilter {
  readonly oif?: number;
  /** The kernel has no filter for it; listNexthops has. */
  readonly protocol?: number;
}

/** `ip nexthop show [dev DEV]` */
export function dumpNexthops(writer: MessageWriter, filter: NexthopFilter = {}): void {
  writer.begin(RTM_GETNEXTHOP, NLM_F_DUMP, NHMSG_LENGTH);
  if (filter.oif !== undefined) writer.u32(NHA_OIF, filter.oif);
  writer.end();
}

export function decodeNexthop(message: MessageReader): NexthopMessage {
  const attributes = message.attributes(NHMSG_LENGTH);
  let id = 0;
  let oif: number | undefined;
  let gateway: Address | undefined;
  let blackhole = false;
  let fdb = false;
  let group: NexthopMember[] | undefined;
  while (attributes.next()) {
    switch (attributes.type) {
      case NHA_ID:
        id = attributes.u32();
        break;
      case NHA_OIF:
        oif = attributes.u32();
        break;
      case NHA_GATEWAY:
        gateway = attributes.address();
        break;
      case NHA_BLACKHOLE:
        blackhole = true;
        break;
      case NHA_FDB:
        fdb = true;
        break;
      case NHA_GROUP:
        group = decodeGroup(attributes.bytes());
        break;
    }
  }
  const family = familyFromNumber(message.u8(0));
  const flags = message.u32(4);
  const protocol = message.u8(2);
  return { kind: "nexthop", id, family, oif, gateway, flags, protocol, scope: message.u8(1), blackhole, fdb, group };
}

/**
 * struct nexthop_grp, 8 bytes each:
 *   0  u32 id   4  u8 weight less one   5  u8 its upper byte (Linux ≥ 6.12, zero before)   6  u16 reserved
 */
function decodeGroup(bytes: Uint8Array): NexthopMember[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const members: NexthopMember[] = [];
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    members.push({ id: view.getUint32(at, true), weight: view.getUint16(at + 4, true) + 1 });
  }
  return members;
}
