// IPsec policies of the kernel (linux/xfrm.h, NETLINK_XFRM); `ip xfrm policy`. Of the many things a policy may say, this codec knows what flannel makes: packets
// from one prefix to another go through, or come out of, one ESP tunnel. What else others' policies say makes them ones that are not ours.
//
// struct xfrm_selector, 56 bytes:
//   0  address daddr   16  address saddr   32  be16 dport, dport_mask, sport, sport_mask
//   40  u16 family   42  u8 prefixlen_d   43  u8 prefixlen_s   44  u8 proto   48  i32 ifindex   52  u32 user
// struct xfrm_userpolicy_info, 168 bytes:
//   0  selector   56  u64 limits of bytes, packets (soft, hard each)   88  u64 limits of time   120  what has passed   152  u32 priority
//   156  u32 index   160  u8 dir   161  u8 action (0: allow)   162  u8 flags   163  u8 share
// struct xfrm_userpolicy_id, 64 bytes:  0  selector   56  u32 index   60  u8 dir
// struct xfrm_user_tmpl, 64 bytes, in XFRMA_TMPL:
//   0  address daddr   16  be32 spi   20  u8 proto   24  u16 family   28  address saddr   44  u32 reqid   48  u8 mode   49  u8 share   50  u8 optional
//   52  u32 aalgos   56  u32 ealgos   60  u32 calgos

import type { Address } from "../ip/address.ts";
import { ADDRESS_BITS, type Family } from "../ip/family.ts";
import { makePrefix, type Prefix, prefixAddress, prefixFamily, prefixLength } from "../ip/prefix.ts";
import { readAddress, writeAddress } from "../ip/wire.ts";
import { MalformedMessage } from "./error.ts";
import { familyFromNumber, familyNumber } from "./family.ts";
import { type MessageReader, NLM_F_DUMP } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

const XFRM_MSG_NEWPOLICY = 0x13;
const XFRM_MSG_DELPOLICY = 0x14;
const XFRM_MSG_GETPOLICY = 0x15;
const XFRM_MSG_UPDPOLICY = 0x19;
const XFRM_MSG_FLUSHPOLICY = 0x1d;

/** Multicast group of NETLINK_XFRM. */
export const XFRMNLGRP_POLICY = 4;

const XFRMA_TMPL = 5;
const XFRMA_POLICY = 7;
/** A policy with a mark or of an xfrm interface is another one beside ours. */
const XFRMA_MARK = 21;
const XFRMA_IF_ID = 31;
const XFRMA_POLICY_TYPE = 16;

const POLICY_INFO_LENGTH = 168;
const POLICY_ID_LENGTH = 64;
const TEMPLATE_LENGTH = 64;

export const IPPROTO_ESP = 50;
export const XFRM_MODE_TUNNEL = 1;
const ALL_BITS = 0xffffffff;

const DIRECTIONS = ["in", "out", "fwd"] as const;

export type PolicyDirection = (typeof DIRECTIONS)[number];

/** A policy of one ESP tunnel. */
export interface TunnelPolicy {
  readonly direction: PolicyDirection;
  readonly src: Prefix;
  readonly dst: Prefix;
  readonly tunnel: { readonly src: Address; readonly dst: Address };
  /** Which security associations serve it. */
  readonly reqid: number;
}

export type PolicyNotification =
  | { readonly kind: "new" | "deleted"; readonly policy: TunnelPolicy }
  /** All policies are gone. */
  | { readonly kind: "flushed" }
  /** Of a policy that flannel would not make; it may have taken the place of one of ours. */
  | { readonly kind: "another" };

/** `ip xfrm policy update src SRC dst DST dir DIR tmpl src TUNNEL dst TUNNEL proto esp reqid REQID mode tunnel`: adds, or replaces that of the same selector. */
export function putPolicy(writer: MessageWriter, policy: TunnelPolicy): void {
  writer.begin(XFRM_MSG_UPDPOLICY, 0, POLICY_INFO_LENGTH);
  writeSelector(writer, policy);
  for (let at = 56; at < 88; at += 4) writer.setU32(at, ALL_BITS); // no limit of bytes or packets
  writer.setU8(160, DIRECTIONS.indexOf(policy.direction));
  const template = new Uint8Array(TEMPLATE_LENGTH);
  const view = new DataView(template.buffer);
  writeAddress(template, 0, policy.tunnel.dst);
  view.setUint8(20, IPPROTO_ESP);
  view.setUint16(24, familyNumber(prefixFamily(policy.src)), true);
  writeAddress(template, 28, policy.tunnel.src);
  view.setUint32(44, policy.reqid, true);
  view.setUint8(48, XFRM_MODE_TUNNEL);
  for (const at of [52, 56, 60]) view.setUint32(at, ALL_BITS, true); // any algorithms
  writer.raw(XFRMA_TMPL, template);
  writer.end();
}

/** `ip xfrm policy delete src SRC dst DST dir DIR` */
export function deletePolicy(writer: MessageWriter, policy: Pick<TunnelPolicy, "direction" | "src" | "dst">): void {
  writer.begin(XFRM_MSG_DELPOLICY, 0, POLICY_ID_LENGTH);
  writeSelector(writer, policy);
  writer.setU8(60, DIRECTIONS.indexOf(policy.direction));
  writer.end();
}

/** `ip xfrm policy list` */
export function dumpPolicies(writer: MessageWriter): void {
  writer.begin(XFRM_MSG_GETPOLICY, NLM_F_DUMP, 0);
  writer.end();
}

/** undefined for policies that flannel would not make. */
export function decodePolicy(message: MessageReader): TunnelPolicy | undefined {
  if (message.type !== XFRM_MSG_NEWPOLICY && message.type !== XFRM_MSG_UPDPOLICY) return undefined;
  return policyOf(message.header(POLICY_INFO_LENGTH), message, POLICY_INFO_LENGTH);
}

/** undefined for what is no news of policies. */
export function decodePolicyNotification(message: MessageReader): PolicyNotification | undefined {
  if (message.type === XFRM_MSG_FLUSHPOLICY) return { kind: "flushed" };
  if (message.type === XFRM_MSG_DELPOLICY) {
    // The whole policy stands in an attribute.
    const attributes = message.attributes(POLICY_ID_LENGTH);
    let info: Uint8Array | undefined;
    while (attributes.next()) if (attributes.type === XFRMA_POLICY) info = attributes.bytes();
    const policy = info && policyOf(info, message, POLICY_ID_LENGTH);
    return policy ? { kind: "deleted", policy } : { kind: "another" };
  }
  if (message.type !== XFRM_MSG_NEWPOLICY && message.type !== XFRM_MSG_UPDPOLICY) return undefined;
  const policy = decodePolicy(message);
  return policy ? { kind: "new", policy } : { kind: "another" };
}

function policyOf(info: Uint8Array, message: MessageReader, headerLength: number): TunnelPolicy | undefined {
  if (info.length < POLICY_INFO_LENGTH) throw new MalformedMessage(`policy of ${info.length} bytes`);
  const view = new DataView(info.buffer, info.byteOffset, info.length);
  const family = familyFromNumber(view.getUint16(40, true));
  const direction = DIRECTIONS[view.getUint8(160)];
  if (!family || !direction || view.getUint8(161) !== 0) return undefined; // a socket's policy, or one that blocks
  // Ports, protocol and interface: any.
  const isAny = [32, 36, 44, 48].every((at) => (at === 44 ? view.getUint8(at) : view.getUint32(at)) === 0);
  if (!isAny) return undefined;
  let template: Uint8Array | undefined;
  const attributes = message.attributes(headerLength);
  while (attributes.next()) {
    if (attributes.type === XFRMA_TMPL) template = attributes.bytes();
    else if (attributes.type === XFRMA_MARK || attributes.type === XFRMA_IF_ID) return undefined;
    else if (attributes.type === XFRMA_POLICY_TYPE && attributes.u8() !== 0) return undefined;
  }
  const end = template && templateOf(template, family);
  if (!end) return undefined;
  const dst = prefixOf(info, 0, view.getUint8(42), family);
  return { direction, src: prefixOf(info, 16, view.getUint8(43), family), dst, ...end };
}

/** The tunnel of a policy's one template. */
function templateOf(bytes: Uint8Array, family: Family): Pick<TunnelPolicy, "tunnel" | "reqid"> | undefined {
  if (bytes.length !== TEMPLATE_LENGTH) return undefined; // several, one after another
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint8(20) !== IPPROTO_ESP || view.getUint8(48) !== XFRM_MODE_TUNNEL) return undefined;
  if (familyFromNumber(view.getUint16(24, true)) !== family) return undefined;
  const length = family === "ipv4" ? 4 : 16;
  const tunnel = { src: readAddress(bytes, 28, length), dst: readAddress(bytes, 0, length) };
  return { tunnel, reqid: view.getUint32(44, true) };
}

function prefixOf(bytes: Uint8Array, offset: number, length: number, family: Family): Prefix {
  if (length > ADDRESS_BITS[family]) throw new MalformedMessage(`policy for a prefix of ${length} bits`);
  return makePrefix(readAddress(bytes, offset, family === "ipv4" ? 4 : 16), length);
}

function writeSelector(writer: MessageWriter, { src, dst }: Pick<TunnelPolicy, "src" | "dst">): void {
  writer.setAddress(0, prefixAddress(dst));
  writer.setAddress(16, prefixAddress(src));
  writer.setU16(40, familyNumber(prefixFamily(src)));
  writer.setU8(42, prefixLength(dst));
  writer.setU8(43, prefixLength(src));
}
