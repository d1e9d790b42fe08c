// Security associations of the kernel (linux/xfrm.h, NETLINK_XFRM); `ip xfrm state`. charon makes and removes them; flannel only removes what a charon that was
// killed has left. Keys, which the kernel tells too, are not read.
//
// struct xfrm_usersa_info, 224 bytes:
//   0  selector   56  address daddr   72  be32 spi   76  u8 proto   80  address saddr   96  limits, counters   208  u32 reqid   212  u16 family   214  u8 mode
// struct xfrm_usersa_id, 24 bytes:  0  address daddr   16  be32 spi   20  u16 family   22  u8 proto

import { type Address, familyOf } from "../ip/address.ts";
import { readAddress } from "../ip/wire.ts";
import { familyFromNumber, familyNumber } from "./family.ts";
import { type MessageReader, NLM_F_DUMP } from "./message.ts";
import type { MessageWriter } from "./writer.ts";
import { IPPROTO_ESP, XFRM_MODE_TUNNEL } from "./xfrm.ts";

const XFRM_MSG_NEWSA = 0x10;
const XFRM_MSG_DELSA = 0x11;
const XFRM_MSG_GETSA = 0x12;

const STATE_INFO_LENGTH = 224;
const STATE_ID_LENGTH = 24;

/** One direction of an ESP tunnel, by what names it to the kernel. */
export interface TunnelState {
  readonly dst: Address;
  /** As a number, where `ip` prints hexadecimal digits. */
  readonly spi: number;
  readonly reqid: number;
}

/** `ip xfrm state list` */
export function dumpStates(writer: MessageWriter): void {
  writer.begin(XFRM_MSG_GETSA, NLM_F_DUMP, 0);
  writer.end();
}

/** `ip xfrm state delete dst DST proto esp spi SPI` */
export function deleteState(writer: MessageWriter, { dst, spi }: TunnelState): void {
  writer.begin(XFRM_MSG_DELSA, 0, STATE_ID_LENGTH);
  writer.setAddress(0, dst);
  for (let byte = 0; byte < 4; byte++) writer.setU8(16 + byte, (spi >>> (24 - byte * 8)) & 0xff);
  writer.setU16(20, familyNumber(familyOf(dst)));
  writer.setU8(22, IPPROTO_ESP);
  writer.end();
}

/** undefined for what is no ESP tunnel. */
export function decodeState(message: MessageReader): TunnelState | undefined {
  if (message.type !== XFRM_MSG_NEWSA) return undefined;
  const info = message.header(STATE_INFO_LENGTH);
  const view = new DataView(info.buffer, info.byteOffset, info.length);
  const family = familyFromNumber(view.getUint16(212, true));
  if (!family || view.getUint8(76) !== IPPROTO_ESP || view.getUint8(214) !== XFRM_MODE_TUNNEL) return undefined;
  const dst = readAddress(info, 56, family === "ipv4" ? 4 : 16);
  return { dst, spi: view.getUint32(72), reqid: view.getUint32(208, true) };
}
