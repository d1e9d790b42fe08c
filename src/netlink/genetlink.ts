// Generic netlink (linux/genetlink.h): families of messages that are known by name, and numbered anew at each boot. The family "nlctrl" has a number of its
// own and tells the others'.
//
// nlmsg_type = number of the family.
//
// struct genlmsghdr, 4 bytes:  0 u8 cmd   1 u8 version   2 u16 reserved

import type { MessageReader } from "./message.ts";
import { NLM_F_DUMP } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

export const GENL_HDRLEN = 4;

const GENL_ID_CTRL = 0x10;
const CTRL_VERSION = 1;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;

/** Starts a request; attributes and writer.end() follow. */
export function beginGeneric(
  writer: MessageWriter,
  family: number,
  command: { readonly cmd: number; readonly version: number; readonly dump?: boolean },
): void {
  writer.begin(family, command.dump ? NLM_F_DUMP : 0, GENL_HDRLEN);
  writer.setU8(0, command.cmd);
  writer.setU8(1, command.version);
}

/** Asks for a family by name; the kernel loads the module that brings it. ENOENT: there is none. */
export function getFamily(writer: MessageWriter, name: string): void {
  beginGeneric(writer, GENL_ID_CTRL, { cmd: CTRL_CMD_GETFAMILY, version: CTRL_VERSION });
  writer.text(CTRL_ATTR_FAMILY_NAME, name);
  writer.end();
}

/** The number of the family that a message tells of. */
export function decodeFamily(message: MessageReader): number | undefined {
  if (message.type !== GENL_ID_CTRL) return undefined;
  const attributes = message.attributes(GENL_HDRLEN);
  while (attributes.next()) if (attributes.type === CTRL_ATTR_FAMILY_ID) return attributes.u16();
  return undefined;
}
