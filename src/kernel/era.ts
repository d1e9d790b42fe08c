// How long what a program did to the kernel can still be there: until the machine boots again (random(4), /proc/sys/kernel/random/boot_id), and as long as
// it is the same network namespace (namespaces(7)).

import { readFileSync, readlinkSync } from "node:fs";

/** Another text means that nothing of what was done is left. */
export function readEra(): string {
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return `${bootId} ${readlinkSync("/proc/self/ns/net")}`;
}
