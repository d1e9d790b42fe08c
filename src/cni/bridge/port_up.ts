// Waits until a link counts as up (RFC 2863), told by the kernel's notifications. Only older kernels (before 6.8) need it, which settle a link's state a
// moment after its carrier.

import { IF_OPER_UP } from "../../netlink/link.ts";
import { findLinkBrief } from "../../netlink/link_brief.ts";
import { RTNLGRP_LINK } from "../../netlink/notification.ts";
import { joinGroup, openNetlinkSocket, SUBJECT } from "../../netlink/open.ts";
import type { RequestSocket } from "../../netlink/socket.ts";
import { close, POLLIN, poll, recvNow } from "../../sys/libc.ts";

/** The kernel settles links once a second at most. The reference plugin goes on as well when that was not enough. */
const PATIENCE_MS = 2_500;

export function waitUntilUp(socket: RequestSocket, index: number, patienceMs = PATIENCE_MS): void {
  const { fd } = openNetlinkSocket({ receiveBufferBytes: 1 << 20 });
  try {
    joinGroup(fd, RTNLGRP_LINK);
    const buffer = new Uint8Array(32 << 10);
    const end = performance.now() + patienceMs;
    // What changed before the group was joined is seen by asking, what changes after by the notification.
    while (findLinkBrief(socket, { index })?.operstate !== IF_OPER_UP) {
      const leftMs = Math.ceil(end - performance.now());
      if (leftMs <= 0 || poll(fd, POLLIN, leftMs, SUBJECT) === 0) return;
      while (recvNow(fd, buffer) > 0); // which link it was about, asking tells
    }
  } finally {
    close(fd);
  }
}
