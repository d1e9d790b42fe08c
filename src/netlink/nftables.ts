// The little of nftables' own messages that flannel needs (linux/netfilter/nfnetlink.h, nf_tables.h): which tables there are, and which table a notification
// is about. Rules are read and written by nft(8).
//
// nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_*. The first attribute of tables, chains, rules and sets is the name of the table.
//
// struct nfgenmsg, 4 bytes:  0 u8 nfgen_family (NFPROTO_IPV4 = AF_INET …)   1 u8 version   2 u16 res_id

import { type MessageReader, NLM_F_DUMP } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

/** Multicast group of NETLINK_NETFILTER. */
export const NFNLGRP_NFTABLES = 7;

const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETTABLE = 1;
const NFT_MSG_NEWGEN = 15;
const NFGENMSG_LENGTH = 4;
/** NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, NFTA_SET_TABLE. */
const NFTA_TABLE = 1;

/** `nft list tables` */
export function dumpTables(writer: MessageWriter): void {
  writer.begin((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE, NLM_F_DUMP, NFGENMSG_LENGTH);
  writer.end();
}

/** The name of the table that a message is about; undefined when it is about none. */
export function decodeTableName(message: MessageReader): string | undefined {
  if (message.type >> 8 !== NFNL_SUBSYS_NFTABLES || (message.type & 0xff) === NFT_MSG_NEWGEN) return undefined;
  const attributes = message.attributes(NFGENMSG_LENGTH);
  while (attributes.next()) if (attributes.type === NFTA_TABLE) return attributes.text();
  return undefined;
}
