// The hops of a multipath route: the value of RTA_MULTIPATH (linux/rtnetlink.h), read only. flanneld makes no multipath
// routes and must recognise those of others.
//
// A row of struct rtnexthop, each padded to 4 bytes:
//   0  u16 rtnh_len (with what follows)   2  u8 rtnh_flags   3  u8 rtnh_hops (weight less one)
//   4  i32 rtnh_ifindex   8  attributes RTA_*

import type { Address } from "../ip/address.ts";
import { AttributeReader } from "./attribute.ts";
import { MalformedMessage } from "./error.ts";

const RTNEXTHOP_LENGTH = 8;
const RTA_GATEWAY = 5;
const RTA_VIA = 18;

export interface RouteHop {
  readonly oif: number;
  readonly gateway: Address | undefined;
  /** 1 to 256. */
  readonly weight: number;
  /** RTNH_F_* */
  readonly flags: number;
}

export function decodeHops(bytes: Uint8Array): RouteHop[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const hops: RouteHop[] = [];
  let at = 0;
  while (bytes.length - at >= RTNEXTHOP_LENGTH) {
    const length = view.getUint16(at, true);
    if (length < RTNEXTHOP_LENGTH || at + length > bytes.length) {
      throw new MalformedMessage(`hop of ${length} bytes where ${bytes.length - at} are left`);
    }
    let gateway: Address | undefined;
    const attributes = new AttributeReader(bytes, view, at + RTNEXTHOP_LENGTH, at + length);
    while (attributes.next()) {
      if (attributes.type === RTA_GATEWAY) gateway = attributes.address();
      else if (attributes.type === RTA_VIA) gateway = attributes.via();
    }
    hops.push({
      oif: view.getInt32(at + 4, true),
      gateway,
      weight: view.getUint8(at + 3) + 1,
      flags: view.getUint8(at + 2),
    });
    at += (length + 3) & ~3;
  }
  return hops;
}
