// Switches of the network namespace that the thread is in, through /proc/sys/net. Paths of IPv6 are missing on a host without it.

import { readText, writeText } from "../sys/file.ts";

/** Sets `path` ("ipv4/ip_forward") unless it has the value already. */
export function setSysctl(path: string, value: string): void {
  const file = `/proc/sys/net/${path}`;
  if (readText(file).trim() !== value) writeText(file, value);
}

/** As setSysctl, for what is well to have and not needed: no error. */
export function preferSysctl(path: string, value: string): void {
  try {
    writeText(`/proc/sys/net/${path}`, value);
  } catch {
    // The kernel has no such switch, or /proc/sys is read-only in a container: the reference plugins go on as well.
  }
}
