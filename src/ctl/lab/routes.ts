// Whether a node's overlay stands, asked of the kernel: routes are the last that a backend makes for a peer, so a
// node with a route to every peer's subnet has all the rest. status.json counts peers as well, but only once a
// second.

import { FAMILIES, type Family, type PerFamily } from "../../ip/family.ts";
import { contains, type Prefix, parsePrefix } from "../../ip/prefix.ts";
import type { LabNode } from "./layout.ts";
import { run } from "./run.ts";

const FAMILY_OPTION: Record<Family, string> = { ipv4: "-4", ipv6: "-6" };

/** The destinations in the output of `ip -json route show`, default routes and single hosts left out. */
export function parseRoutes(output: string): Prefix[] {
  const routes = JSON.parse(output || "[]") as { dst?: unknown }[];
  return routes.flatMap(({ dst }) => (typeof dst === "string" && parsePrefix(dst)) || []);
}

/** Whether `node` has a route to each of `subnets`, be it to a larger prefix (wireguard routes the whole network). */
export async function reachesAll(
  node: LabNode,
  subnets: readonly PerFamily<Prefix>[],
  signal: AbortSignal,
): Promise<boolean> {
  for (const family of FAMILIES) {
    const wanted = subnets.flatMap((subnet) => subnet[family] ?? []);
    if (wanted.length === 0) continue;
    const { stdout } = await run(["ip", "-n", node.namespace, FAMILY_OPTION[family], "-json", "route", "show"], {
      signal,
    });
    const routes = parseRoutes(stdout);
    if (!wanted.every((subnet) => routes.some((route) => contains(route, subnet)))) return false;
  }
  return true;
}
