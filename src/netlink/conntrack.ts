// Tracked connections (linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h); `conntrack`. Only what it takes to find connections by where they were sent
// to, and to forget them; over a socket opened with NETLINK_NETFILTER.
//
// struct nfgenmsg, 4 bytes:  0 u8 nfgen_family (AF_*)   1 u8 version   2 u16 res_id, in network order

import type { Address } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";
import type { AttributeReader } from "./attribute.ts";
import { familyFromNumber, familyNumber } from "./family.ts";
import { type MessageReader, NLM_F_DUMP } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

const NFNL_SUBSYS_CTNETLINK = 1;
const CTNETLINK = NFNL_SUBSYS_CTNETLINK << 8;
const NFGENMSG_LENGTH = 4;

export const IPCTNL_MSG_CT_NEW = CTNETLINK | 0;
export const IPCTNL_MSG_CT_GET = CTNETLINK | 1;
export const IPCTNL_MSG_CT_DELETE = CTNETLINK | 2;

const NLA_F_NESTED = 0x8000;

const CTA_TUPLE_ORIG = 1;
const CTA_ID = 12;
const CTA_ZONE = 18;
const CTA_FILTER = 25;

const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;

const CTA_IP_V4_DST = 2;
const CTA_IP_V6_DST = 4;

const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;

const CTA_FILTER_ORIG_FLAGS = 1;
/** Which parts of CTA_TUPLE_ORIG the kernel is to compare; linux/netfilter/nf_conntrack_netlink.c has the numbers. */
const CTA_FILTER_F_CTA_PROTO_NUM = 1 << 3;
const CTA_FILTER_F_CTA_PROTO_DST_PORT = 1 << 5;

/** linux/in.h */
export const IPPROTO_UDP = 17;

export interface Connection {
  readonly family: Family;
  /** IPPROTO_* */
  readonly protocol: number;
  /** Where its first packet was sent to, before any translation; undefined for a protocol without ports. */
  readonly dst: Address | undefined;
  readonly dstPort: number | undefined;
  /** What names it to the kernel: values of CTA_TUPLE_ORIG, CTA_ID and CTA_ZONE. */
  readonly tuple: Uint8Array;
  readonly id: Uint8Array | undefined;
  readonly zone: Uint8Array | undefined;
}

export interface ConnectionFilter {
  readonly family: Family;
  readonly protocol: number;
  readonly dstPort: number;
}

/** `conntrack -L -f FAMILY -p PROTOCOL --dport PORT`. Kernels before 5.8 answer with every connection of the family. */
export function dumpConnections(writer: MessageWriter, { family, protocol, dstPort }: ConnectionFilter): void {
  writer.begin(IPCTNL_MSG_CT_GET, NLM_F_DUMP, NFGENMSG_LENGTH);
  writer.setU8(0, familyNumber(family));
  const tuple = writer.beginNested(CTA_TUPLE_ORIG | NLA_F_NESTED);
  const ports = writer.beginNested(CTA_TUPLE_PROTO | NLA_F_NESTED);
  writer.u8(CTA_PROTO_NUM, protocol);
  writer.u16be(CTA_PROTO_DST_PORT, dstPort);
  writer.endNested(ports);
  writer.endNested(tuple);
  const filter = writer.beginNested(CTA_FILTER | NLA_F_NESTED);
  writer.u32(CTA_FILTER_ORIG_FLAGS, CTA_FILTER_F_CTA_PROTO_NUM | CTA_FILTER_F_CTA_PROTO_DST_PORT);
  writer.endNested(filter);
  writer.end();
}

/** `conntrack -D` of this one connection, not of one that has taken its place. */
export function deleteConnection(writer: MessageWriter, { family, tuple, id, zone }: Connection): void {
  writer.begin(IPCTNL_MSG_CT_DELETE, 0, NFGENMSG_LENGTH);
  writer.setU8(0, familyNumber(family));
  writer.raw(CTA_TUPLE_ORIG | NLA_F_NESTED, tuple);
  if (id) writer.raw(CTA_ID, id);
  if (zone) writer.raw(CTA_ZONE, zone);
  writer.end();
}

/** undefined for what is neither IPv4 nor IPv6. */
export function decodeConnection(message: MessageReader): Connection | undefined {
  if (message.type !== IPCTNL_MSG_CT_NEW) return undefined;
  const attributes = message.attributes(NFGENMSG_LENGTH);
  const family = familyFromNumber(message.u8(0));
  if (!family) return undefined;
  let tuple: Uint8Array | undefined;
  let target: Target = { protocol: 0, dst: undefined, dstPort: undefined };
  let id: Uint8Array | undefined;
  let zone: Uint8Array | undefined;
  while (attributes.next()) {
    switch (attributes.type) {
      case CTA_TUPLE_ORIG:
        tuple = attributes.bytes();
        target = decodeTuple(attributes.nested());
        break;
      case CTA_ID:
        id = attributes.bytes();
        break;
      case CTA_ZONE:
        zone = attributes.bytes();
        break;
    }
  }
  return tuple && { family, ...target, tuple, id, zone };
}

type Target = Pick<Connection, "protocol" | "dst" | "dstPort">;

function decodeTuple(tuple: AttributeReader): Target {
  let protocol = 0;
  let dst: Address | undefined;
  let dstPort: number | undefined;
  while (tuple.next()) {
    const part = tuple.nested();
    if (tuple.type === CTA_TUPLE_IP) {
      while (part.next()) if (part.type === CTA_IP_V4_DST || part.type === CTA_IP_V6_DST) dst = part.address();
    } else if (tuple.type === CTA_TUPLE_PROTO) {
      while (part.next()) {
        if (part.type === CTA_PROTO_NUM) protocol = part.u8();
        else if (part.type === CTA_PROTO_DST_PORT) dstPort = part.u16be();
      }
    }
  }
  return { protocol, dst, dstPort };
}
