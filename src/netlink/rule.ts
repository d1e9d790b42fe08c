// Policy rules: which routing table a packet asks (linux/fib_rules.h); `ip rule`.
//
// struct fib_rule_hdr, 12 bytes:
//   0  u8 family   1  u8 dst_len   2  u8 src_len   3  u8 tos
//   4  u8 table   7  u8 action (FR_ACT_*)   8  u32 flags (FIB_RULE_*)

import type { Address } from "../ip/address.ts";
import { ADDRESS_BITS, type Family } from "../ip/family.ts";
import { makePrefix, type Prefix, prefixAddress, prefixLength } from "../ip/prefix.ts";
import { MalformedMessage } from "./error.ts";
import { familyFromNumber, familyNumber } from "./family.ts";
import { type MessageReader, NLM_F_DUMP, PUT_FLAGS } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;

const FIB_RULE_HDR_LENGTH = 12;

const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const FRA_PRIORITY = 6;
const FRA_FWMARK = 10;
const FRA_SUPPRESS_PREFIXLEN = 14;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_OIFNAME = 17;
const FRA_PROTOCOL = 21;

export const FR_ACT_TO_TBL = 1;
export const FR_ACT_BLACKHOLE = 6;
export const FR_ACT_UNREACHABLE = 7;
export const FR_ACT_PROHIBIT = 8;

/** Applies to what does not match. */
export const FIB_RULE_INVERT = 0x2;

export interface RuleMessage {
  readonly kind: "rule";
  readonly family: Family;
  /** Smaller is asked first; 0 local, 32766 main, 32767 default. */
  readonly priority: number;
  /** FR_ACT_* */
  readonly action: number;
  /** RT_TABLE_* (route.ts); 0 when the action is not to ask a table. */
  readonly table: number;
  readonly src: Prefix | undefined;
  readonly dst: Prefix | undefined;
  readonly iifname: string | undefined;
  readonly oifname: string | undefined;
  readonly mark: number | undefined;
  readonly mask: number | undefined;
  /** Routes with no more bits than this count as not found. */
  readonly suppressPrefixLength: number | undefined;
  /** RTPROT_*: who made it. */
  readonly protocol: number;
  /** FIB_RULE_* */
  readonly flags: number;
}

export type NewRule = Pick<RuleMessage, "family"> & Partial<Omit<RuleMessage, "kind" | "family">>;

/** `ip rule add [from SRC] [to DST] [fwmark MARK/MASK] lookup TABLE priority PRIORITY` */
export function addRule(writer: MessageWriter, rule: NewRule): void {
  writeRule(writer, RTM_NEWRULE, PUT_FLAGS.add, { action: FR_ACT_TO_TBL, ...rule });
}

/** `ip rule delete …`: only what is given must match. */
export function deleteRule(writer: MessageWriter, rule: NewRule): void {
  writeRule(writer, RTM_DELRULE, 0, rule);
}

/** `ip rule show` */
export function dumpRules(writer: MessageWriter, family: Family): void {
  writer.begin(RTM_GETRULE, NLM_F_DUMP, FIB_RULE_HDR_LENGTH);
  writer.setU8(0, familyNumber(family));
  writer.end();
}

/** undefined for rules of other families. */
export function decodeRule(message: MessageReader): RuleMessage | undefined {
  const attributes = message.attributes(FIB_RULE_HDR_LENGTH);
  const family = familyFromNumber(message.u8(0));
  if (!family) return undefined;
  let priority = 0;
  let table = message.u8(4);
  let src: Prefix | undefined;
  let dst: Prefix | undefined;
  let iifname: string | undefined;
  let oifname: string | undefined;
  let mark: number | undefined;
  let mask: number | undefined;
  let suppressPrefixLength: number | undefined;
  let protocol = 0;
  while (attributes.next()) {
    switch (attributes.type) {
      case FRA_PRIORITY:
        priority = attributes.u32();
        break;
      case FRA_TABLE:
        table = attributes.u32();
        break;
      case FRA_SRC:
        src = selector(family, attributes.address(), message.u8(2));
        break;
      case FRA_DST:
        dst = selector(family, attributes.address(), message.u8(1));
        break;
      case FRA_IIFNAME:
        iifname = attributes.text();
        break;
      case FRA_OIFNAME:
        oifname = attributes.text();
        break;
      case FRA_FWMARK:
        mark = attributes.u32();
        break;
      case FRA_FWMASK:
        mask = attributes.u32();
        break;
      case FRA_SUPPRESS_PREFIXLEN:
        suppressPrefixLength = suppressed(attributes.i32());
        break;
      case FRA_PROTOCOL:
        protocol = attributes.u8();
        break;
    }
  }
  const action = message.u8(7);
  const flags = message.u32(8);
  const selectors = { src, dst, iifname, oifname, mark, mask };
  return { kind: "rule", family, priority, action, table, ...selectors, suppressPrefixLength, protocol, flags };
}

function selector(family: Family, address: Address | undefined, length: number): Prefix | undefined {
  if (length > ADDRESS_BITS[family]) throw new MalformedMessage(`rule for a prefix of ${length} bits`);
  return address && makePrefix(address, length);
}

/** The kernel says -1 for none. */
function suppressed(length: number): number | undefined {
  return length < 0 ? undefined : length;
}

function writeRule(writer: MessageWriter, type: number, messageFlags: number, rule: NewRule): void {
  const { src, dst, table = 0 } = rule;
  writer.begin(type, messageFlags, FIB_RULE_HDR_LENGTH);
  writer.setU8(0, familyNumber(rule.family));
  writer.setU8(1, dst ? prefixLength(dst) : 0);
  writer.setU8(2, src ? prefixLength(src) : 0);
  writer.setU8(4, table < 256 ? table : 0);
  writer.setU8(7, rule.action ?? 0);
  writer.setU32(8, rule.flags ?? 0);
  if (src) writer.address(FRA_SRC, prefixAddress(src));
  if (dst) writer.address(FRA_DST, prefixAddress(dst));
  if (rule.mark !== undefined) writer.u32(FRA_FWMARK, rule.mark);
  if (rule.mask !== undefined) writer.u32(FRA_FWMASK, rule.mask);
  if (table >= 256) writer.u32(FRA_TABLE, table);
  if (rule.priority !== undefined) writer.u32(FRA_PRIORITY, rule.priority);
  if (rule.iifname !== undefined) writer.text(FRA_IIFNAME, rule.iifname);
  if (rule.oifname !== undefined) writer.text(FRA_OIFNAME, rule.oifname);
  if (rule.suppressPrefixLength !== undefined) writer.u32(FRA_SUPPRESS_PREFIXLEN, rule.suppressPrefixLength);
  if (rule.protocol !== undefined) writer.u8(FRA_PROTOCOL, rule.protocol);
  writer.end();
}
