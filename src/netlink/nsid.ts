// Numbers by which one network namespace knows others (linux/net_namespace.h); `ip netns list-id`. IFLA_LINK_NETNSID of
// a veth uses them.
//
// struct rtgenmsg, 1 byte, padded to 4: 0 u8 rtgen_family (AF_UNSPEC)

import { type MessageReader, NLM_F_DUMP } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

export const RTM_NEWNSID = 88;
export const RTM_DELNSID = 89;
export const RTM_GETNSID = 90;

const RTGENMSG_LENGTH = 1;

const NETNSA_NSID = 1;
const NETNSA_FD = 3;

/** What the kernel answers for a namespace that has no number yet. */
export const NETNSA_NSID_NOT_ASSIGNED = -1;

export interface NsidMessage {
  readonly kind: "nsid";
  readonly id: number;
}

/** Which number has the namespace of the open file? Answered by an NsidMessage. */
export function getNsid(writer: MessageWriter, namespaceFd: number): void {
  writer.begin(RTM_GETNSID, 0, RTGENMSG_LENGTH);
  writer.u32(NETNSA_FD, namespaceFd);
  writer.end();
}

/** `ip netns set NAME ID`; -1 lets the kernel choose. */
export function addNsid(writer: MessageWriter, namespaceFd: number, id = NETNSA_NSID_NOT_ASSIGNED): void {
  writer.begin(RTM_NEWNSID, 0, RTGENMSG_LENGTH);
  writer.u32(NETNSA_FD, namespaceFd);
  writer.u32(NETNSA_NSID, id);
  writer.end();
}

/** `ip netns list-id` */
export function dumpNsids(writer: MessageWriter): void {
  writer.begin(RTM_GETNSID, NLM_F_DUMP, RTGENMSG_LENGTH);
  writer.end();
}

export function decodeNsid(message: MessageReader): NsidMessage {
  const attributes = message.attributes(RTGENMSG_LENGTH);
  let id = NETNSA_NSID_NOT_ASSIGNED;
  while (attributes.next()) if (attributes.type === NETNSA_NSID) id = attributes.i32();
  return { kind: "nsid", id };
}
