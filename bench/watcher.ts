// The outside observer, a process of its own so that it hears while others work: listens to the kernel's
// notifications in one network namespace, and to one directory, and says when what it was asked for has been seen.
//
//   bun bench/watcher.ts NAMESPACE-PATH DEVICE DIRECTORY ROUTE-PROTOCOL     questions and replies by IPC (counts.ts)
//
// It reads the fixed headers only, so that it keeps up with 50,000 peers and takes little of the machine from what is
// measured.

import { readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { AF_BRIDGE, AF_INET } from "../src/netlink/family.ts";
import { decodeLink, IFF_UP, RTM_DELLINK, RTM_NEWLINK } from "../src/netlink/link.ts";
import { findLink } from "../src/netlink/list.ts";
import { MessageReader } from "../src/netlink/message.ts";
import { NUD_PERMANENT, RTM_DELNEIGH, RTM_NEWNEIGH } from "../src/netlink/neighbour.ts";
import { RTM_DELNEXTHOP, RTM_NEWNEXTHOP } from "../src/netlink/nexthop.ts";
import { RTNLGRP_IPV4_ROUTE, RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_NEXTHOP } from "../src/netlink/notification.ts";
import { NotificationSocket } from "../src/netlink/notification_socket.ts";
import { RTM_DELROUTE, RTM_NEWROUTE } from "../src/netlink/route.ts";
import { RequestSocket } from "../src/netlink/socket.ts";
import { ROUTE_PROTOCOL } from "../src/state/print.ts";
import { type Counts, type Expectation, KINDS, type Kind, noCounts, now, type Question, type Reply } from "./counts.ts";

/** 50,000 peers are 200,000 messages of about 1 KiB of kernel memory. */
const BUFFER_BYTES = 512 << 20;

const [namespace = "", device = "", directory = "", protocol = ""] = process.argv.slice(2);
const routeProtocol = Number(protocol);
const made = noCounts();
const gone = noCounts();
let deviceIndex: number | undefined;
let ups = 0;
let readies = 0;
const files = new Map<string, number>();

interface Waiting {
  readonly id: number;
  readonly expectation: Expectation;
  readonly made: Counts;
  readonly gone: Counts;
  readonly ups: number;
  readonly readies: number;
  readonly files: number;
}
let waiting: Waiting[] = [];

function reply(message: Reply): void {
  process.send?.(message);
}

/** Answers what has come true. */
function look(): void {
  if (waiting.length === 0) return;
  const at = now();
  const met = waiting.filter(isMet);
  if (met.length === 0) return;
  waiting = waiting.filter((each) => !met.includes(each));
  for (const { id } of met) reply({ kind: "met", id, at, made: { ...made }, gone: { ...gone } });
}

function isMet({ expectation, ...before }: Waiting): boolean {
  return (
    KINDS.every((kind) => made[kind] - before.made[kind] >= (expectation.made?.[kind] ?? 0)) &&
    KINDS.every((kind) => gone[kind] - before.gone[kind] >= (expectation.gone?.[kind] ?? 0)) &&
    (!expectation.up || ups > before.ups) &&
    (!expectation.ready || readies > before.readies) &&
    (expectation.file === undefined || (files.get(expectation.file) ?? 0) > before.files)
  );
}

function hear(datagram: Uint8Array): void {
  const message = new MessageReader(datagram);
  while (message.next()) {
    switch (message.type) {
      case RTM_NEWLINK:
      case RTM_DELLINK:
        hearLink(message);
        break;
      case RTM_NEWNEIGH:
      case RTM_DELNEIGH:
        hearNeighbour(message);
        break;
      case RTM_NEWNEXTHOP:
      case RTM_DELNEXTHOP:
        if (message.u8(2) === ROUTE_PROTOCOL) count("nexthop", message.type === RTM_NEWNEXTHOP);
        break;
      case RTM_NEWROUTE:
      case RTM_DELROUTE:
        if (message.u8(5) === routeProtocol) count("route", message.type === RTM_NEWROUTE);
        break;
    }
  }
  look();
}

function hearLink(message: MessageReader): void {
  const link = decodeLink(message);
  if (link?.name !== device) return;
  if (message.type === RTM_DELLINK) deviceIndex = undefined;
  else {
    deviceIndex = link.index;
    if (link.flags & IFF_UP) ups++;
  }
}

/** struct ndmsg: 0 u8 family, 4 i32 ifindex, 8 u16 state; family AF_BRIDGE is an FDB entry. */
function hearNeighbour(message: MessageReader): void {
  const family = message.u8(0);
  if (message.i32(4) !== deviceIndex || (family !== AF_BRIDGE && family !== AF_INET)) return;
  const isMade = message.type === RTM_NEWNEIGH;
  // The end of a neighbour is first told as one that failed.
  if (isMade && !(message.u16(8) & NUD_PERMANENT)) return;
  count(family === AF_BRIDGE ? "fdb" : "neighbour", isMade);
}

function count(kind: Kind, isMade: boolean): void {
  if (isMade) made[kind]++;
  else gone[kind]++;
}

/** status.json is replaced as a whole, so it always parses. */
function phase(): unknown {
  return (JSON.parse(readFileSync(join(directory, "status.json"), "utf8")) as { phase?: unknown }).phase;
}

const lost = (reason: string) => reply({ kind: "lost", reason });
const socket = new NotificationSocket({
  groups: [RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_NEXTHOP, RTNLGRP_IPV4_ROUTE],
  namespace,
  receiveBufferBytes: BUFFER_BYTES,
  onMessages: hear,
  onOverrun: () => lost("the kernel had more to tell than the observer's buffer holds"),
  onFailure: (error) => lost(String(error)),
});
{
  using requests = new RequestSocket({ namespace });
  deviceIndex = findLink(requests, { name: device })?.index;
}
const watcher = watch(directory, (_event, name) => {
  if (name === null) return;
  files.set(name, (files.get(name) ?? 0) + 1);
  if (name === "status.json" && phase() === "ready") readies++;
  look();
});
process.on("message", ({ id, expectation }: Question) => {
  const seen = files.get(expectation.file ?? "") ?? 0;
  waiting.push({ id, expectation, made: { ...made }, gone: { ...gone }, ups, readies, files: seen });
  reply({ kind: "armed", id });
  look();
});
process.on("disconnect", () => {
  watcher.close();
  socket[Symbol.dispose]();
});
reply({ kind: "ready" });
