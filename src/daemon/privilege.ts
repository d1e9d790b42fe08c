// Whether this process may change the network (capabilities(7)), asked before anything is begun.

import { readFileSync } from "node:fs";
import { ConfigError } from "../config/fault.ts";

const CAP_NET_ADMIN = 12n;

/** Throws ConfigError without CAP_NET_ADMIN. */
export function requireNetAdmin(procStatus = readFileSync("/proc/self/status", "utf8")): void {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(procStatus)?.[1];
  if (effective === undefined || (BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) return;
  throw new ConfigError([
    {
      where: "privileges",
      got: "a process without CAP_NET_ADMIN",
      want: "root, or the capabilities NET_ADMIN and NET_RAW",
    },
  ]);
}
