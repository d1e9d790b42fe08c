// A tun or tap device (linux/if_link.h, IFLA_TUN_*), as the kernel describes it. It is made by opening /dev/net/tun, so
// there is nothing to encode.

import type { AttributeReader } from "./attribute.ts";

const IFLA_TUN_OWNER = 1;
const IFLA_TUN_TYPE = 3;
const IFLA_TUN_PERSIST = 6;
const IFLA_TUN_MULTI_QUEUE = 7;

/** linux/if_tun.h */
const IFF_TUN = 1;

export interface TunInfo {
  readonly type: "tun";
  /** IP packets or Ethernet frames. */
  readonly mode: "tun" | "tap";
  /** User id that may open it without CAP_NET_ADMIN. */
  readonly owner: number | undefined;
  /** Stays when nobody has it open. */
  readonly persist: boolean;
  readonly multiQueue: boolean;
}

export function decodeTunInfo(data: AttributeReader): TunInfo {
  let mode: TunInfo["mode"] = "tun";
  let owner: number | undefined;
  let persist = false;
  let multiQueue = false;
  while (data.next()) {
    switch (data.type) {
      case IFLA_TUN_OWNER:
        owner = data.u32();
        break;
      case IFLA_TUN_TYPE:
        mode = data.u8() === IFF_TUN ? "tun" : "tap";
        break;
      case IFLA_TUN_PERSIST:
        persist = data.u8() !== 0;
        break;
      case IFLA_TUN_MULTI_QUEUE:
        multiQueue = data.u8() !== 0;
        break;
    }
  }
  return { type: "tun", mode, owner, persist, multiQueue };
}
