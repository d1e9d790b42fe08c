// What a lab needs of the machine, asked for before anything is made, and all of it at once.

import { dirname, join } from "node:path";
import { findTool } from "./run.ts";

/** Tool → the package that brings it, as Debian and Fedora name it. */
const PACKAGES: Readonly<Record<string, string>> = {
  ip: "iproute2 (Fedora: iproute)",
  tc: "iproute2 (Fedora: iproute-tc)",
  ping: "iputils-ping (Fedora: iputils)",
  nsenter: "util-linux",
  unshare: "util-linux",
  setpriv: "util-linux",
  mount: "mount (Fedora: util-linux)",
};

export const LAB_TOOLS: readonly string[] = ["ip", "ping", "nsenter", "unshare", "setpriv", "mount"];

/** Throws naming everything that is missing. */
export function requireTools(tools: readonly string[], find = findTool, userId = process.geteuid?.()): void {
  const missing = tools.filter((tool) => find(tool) === null);
  const faults = missing.map((tool) => `${tool} is missing; install the package ${PACKAGES[tool] ?? tool}`);
  if (userId !== 0) faults.unshift("network namespaces need root; run it with sudo");
  if (faults.length > 0) throw new Error(`cannot work on a lab: ${faults.join("\n  ")}`);
}

/** The flanneld that the nodes run: the one given, or the executable that this is, under its other name. */
export function findFlanneld(given: string | undefined): string {
  const path = given ?? join(dirname(process.execPath), "flanneld");
  const found = Bun.which(path, { cwd: process.cwd() });
  if (found) return found;
  throw new Error(`cannot find flanneld at ${path}; name it with --flanneld PATH`);
}
