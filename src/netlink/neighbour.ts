// Neighbours, IP → MAC on a link (linux/neighbour.h); `ip neighbour`. The forwarding entries of bridges and vxlan
// devices use the same messages with family AF_BRIDGE: fdb.ts.
//
// struct ndmsg, 12 bytes:
//   0  u8  ndm_family   4  i32 ndm_ifindex   8  u16 ndm_state   10  u8 ndm_flags   11  u8 ndm_type

import type { Address } from "../ip/address.ts";
import { familyOf } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";
import type { Mac } from "../ip/mac.ts";
import { familyFromNumber, familyNumber } from "./family.ts";
import { type MessageReader, NLM_F_DUMP, PUT_FLAGS, type PutMode } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;

export const NDMSG_LENGTH = 12;

export const NDA_DST = 1;
export const NDA_LLADDR = 2;
export const NDA_CACHEINFO = 3;
export const NDA_IFINDEX = 8;

export const NUD_INCOMPLETE = 0x01;
export const NUD_REACHABLE = 0x02;
export const NUD_STALE = 0x04;
export const NUD_DELAY = 0x08;
export const NUD_PROBE = 0x10;
export const NUD_FAILED = 0x20;
export const NUD_NOARP = 0x40;
export const NUD_PERMANENT = 0x80;

export const NTF_USE = 0x01;
/** The device's own table (vxlan), not that of the bridge above it. */
export const NTF_SELF = 0x02;
export const NTF_MASTER = 0x04;
export const NTF_PROXY = 0x08;
export const NTF_EXT_LEARNED = 0x10;
export const NTF_ROUTER = 0x80;

export interface NeighbourMessage {
  readonly kind: "neighbour";
  /** ifindex of the link. */
  readonly index: number;
  readonly address: Address;
  /** undefined while it is being looked for, and on links whose addresses are not Ethernet's. */
  readonly mac: Mac | undefined;
  /** NUD_* */
  readonly state: number;
  /** NTF_* */
  readonly flags: number;
}

export type NeighbourKey = Pick<NeighbourMessage, "index" | "address">;
export type NewNeighbour = NeighbourKey & Partial<Pick<NeighbourMessage, "mac" | "state" | "flags">>;

/** `ip neighbour add|replace ADDRESS lladdr MAC dev DEV nud permanent`; permanent unless `state` says otherwise. */
export function putNeighbour(writer: MessageWriter, neighbour: NewNeighbour, mode: PutMode): void {
  const { address, mac, state = NUD_PERMANENT, flags = 0 } = neighbour;
  begin(writer, RTM_NEWNEIGH, PUT_FLAGS[mode], neighbour, state, flags);
  writer.address(NDA_DST, address);
  if (mac) writer.mac(NDA_LLADDR, mac);
  writer.end();
}

/** `ip neighbour delete ADDRESS dev DEV` */
export function deleteNeighbour(writer: MessageWriter, neighbour: NeighbourKey): void {
  begin(writer, RTM_DELNEIGH, 0, neighbour, NUD_PERMANENT, 0);
  writer.address(NDA_DST, neighbour.address);
  writer.end();
}

export interface NeighbourFilter {
  readonly family?: Family;
  readonly index?: number;
}

/** `ip neighbour show [dev DEV]` */
export function dumpNeighbours(writer: MessageWriter, filter: NeighbourFilter = {}): void {
  writer.begin(RTM_GETNEIGH, NLM_F_DUMP, NDMSG_LENGTH);
  if (filter.family) writer.setU8(0, familyNumber(filter.family));
  if (filter.index !== undefined) writer.u32(NDA_IFINDEX, filter.index);
  writer.end();
}

/** undefined for what is no IP neighbour. */
export function decodeNeighbour(message: MessageReader): NeighbourMessage | undefined {
  const attributes = message.attributes(NDMSG_LENGTH);
  if (!familyFromNumber(message.u8(0))) return undefined;
  let address: Address | undefined;
  let mac: Mac | undefined;
  while (attributes.next()) {
    if (attributes.type === NDA_DST) address = attributes.address();
    else if (attributes.type === NDA_LLADDR) mac = attributes.mac();
  }
  if (!address) return undefined;
  return { kind: "neighbour", index: message.i32(4), address, mac, state: message.u16(8), flags: message.u8(10) };
}

function begin(
  writer: MessageWriter,
  type: number,
  messageFlags: number,
  { index, address }: NeighbourKey,
  state: number,
  flags: number,
): void {
  writer.begin(type, messageFlags, NDMSG_LENGTH);
  writer.setU8(0, familyNumber(familyOf(address)));
  writer.setU32(4, index);
  writer.setU16(8, state);
  writer.setU8(10, flags);
}
