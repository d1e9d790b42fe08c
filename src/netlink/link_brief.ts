// A link as a CNI plugin asks for it, several times for each container: the few fields that it needs, read only as far as the last of them. Of a bridge an
// answer has a hundred attributes, and a process that lives for milliseconds has not yet compiled the code that steps through them.

import type { Mac } from "../ip/mac.ts";
import { ENODEV } from "../sys/error.ts";
import { AnswerError } from "./error.ts";
import {
  getLink,
  IFINFOMSG_LENGTH,
  IFLA_ADDRESS,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_MTU,
  IFLA_OPERSTATE,
} from "./link.ts";
import type { MessageReader } from "./message.ts";
import type { RequestSocket } from "./socket.ts";

const BRIEF = (1 << IFLA_IFNAME) | (1 << IFLA_MTU) | (1 << IFLA_OPERSTATE) | (1 << IFLA_ADDRESS);

export interface LinkBrief {
  readonly index: number;
  readonly name: string;
  /** IFF_* (link.ts) */
  readonly flags: number;
  /** Bytes. */
  readonly mtu: number | undefined;
  readonly mac: Mac | undefined;
  /** IF_OPER_* (link.ts) */
  readonly operstate: number | undefined;
  /** "bridge", "veth"; undefined for hardware and loopback, and when it was not asked for. */
  readonly kind: string | undefined;
}

/** `ip link show dev DEV`; undefined when there is none. The kind stands far back: without it, less is read. */
export function findLinkBrief(
  socket: RequestSocket,
  link: { readonly name: string } | { readonly index: number },
  withKind = false,
): LinkBrief | undefined {
  try {
    return socket.ask(
      (writer) => getLink(writer, link),
      (message) => decodeLinkBrief(message, withKind),
    );
  } catch (error) {
    if (error instanceof AnswerError && error.errno === ENODEV) return undefined;
    throw error;
  }
}

/** The kernel puts name, state and MTU before the MAC, and the kind after it; whatever the order, what comes before the last one wanted is read. */
export function decodeLinkBrief(message: MessageReader, withKind: boolean): LinkBrief {
  const attributes = message.attributes(IFINFOMSG_LENGTH);
  let wanted = withKind ? BRIEF | (1 << IFLA_LINKINFO) : BRIEF;
  let name = "";
  let mtu: number | undefined;
  let mac: Mac | undefined;
  let operstate: number | undefined;
  let kind: string | undefined;
  while (wanted !== 0 && attributes.nextAmong(wanted)) {
    const { type } = attributes;
    wanted &= ~(1 << type);
    if (type === IFLA_IFNAME) name = attributes.text();
    else if (type === IFLA_MTU) mtu = attributes.u32();
    else if (type === IFLA_OPERSTATE) operstate = attributes.u8();
    else if (type === IFLA_ADDRESS) mac = attributes.mac();
    else {
      const info = attributes.nested();
      if (info.nextAmong(1 << IFLA_INFO_KIND)) kind = info.text();
    }
  }
  return { index: message.i32(4), name, flags: message.u32(8), mtu, mac, operstate, kind };
}
