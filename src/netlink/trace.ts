// FLANNEL_TRACE=netlink prints every message sent and received to stderr, one line each:
// `netlink> RTM_NEWROUTE flags 0x605 seq 7 pid 0 02 18 …`. Off, it costs one comparison per datagram.

import { MessageReader, NLMSG_HDRLEN } from "./message.ts";

const FAMILIES = ["LINK", "ADDR", "ROUTE", "NEIGH", "RULE"] as const;
const VERBS = ["NEW", "DEL", "GET", "SET"] as const;
const OTHERS: Readonly<Record<number, string>> = {
  1: "NLMSG_NOOP",
  2: "NLMSG_ERROR",
  3: "NLMSG_DONE",
  4: "NLMSG_OVERRUN",
};
const LATER_FAMILIES: Readonly<Record<number, string>> = { 88: "NSID", 104: "NEXTHOP" };

export type Trace = (direction: ">" | "<", datagram: Uint8Array) => void;

/** The trace that FLANNEL_TRACE, a list of words between commas, asks for; undefined for none. */
export function netlinkTrace(words = process.env.FLANNEL_TRACE): Trace | undefined {
  if (!words?.split(",").includes("netlink")) return undefined;
  return (direction, datagram) => {
    for (const line of traceLines(datagram)) process.stderr.write(`netlink${direction} ${line}\n`);
  };
}

export function traceLines(datagram: Uint8Array): string[] {
  const lines: string[] = [];
  const message = new MessageReader(datagram);
  while (message.next()) {
    const body = datagram.subarray(message.start + NLMSG_HDRLEN, message.end);
    const hex = Array.from(body, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const { type, flags, sequence, portId } = message;
    lines.push(`${typeName(type)} flags 0x${flags.toString(16)} seq ${sequence} pid ${portId} ${hex}`);
  }
  return lines;
}

function typeName(type: number): string {
  const family = FAMILIES[(type - 16) >> 2] ?? LATER_FAMILIES[type & ~3];
  return family ? `RTM_${VERBS[type & 3]}${family}` : (OTHERS[type] ?? `type ${type}`);
}
