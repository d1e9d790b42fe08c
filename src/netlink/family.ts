// Address families as numbers (linux/socket.h).

import type { Family } from "../ip/family.ts";

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_BRIDGE = 7;
export const AF_INET6 = 10;

export function familyNumber(family: Family): number {
  return family === "ipv4" ? AF_INET : AF_INET6;
}

/** undefined for other families (MPLS, multicast routing, bridge). */
export function familyFromNumber(number: number): Family | undefined {
  if (number === AF_INET) return "ipv4";
  return number === AF_INET6 ? "ipv6" : undefined;
}
