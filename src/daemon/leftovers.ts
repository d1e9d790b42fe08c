// What an earlier run under another configuration has left: its links are known by their looks (a backend's name and kind) and by an address inside the
// network, so that those of another flanneld on this host, which has another network, are left alone.

import { looksLikeOurs } from "../backend/backends.ts";
import type { PerFamily } from "../ip/family.ts";
import { contains, type Prefix } from "../ip/prefix.ts";
import { LinkTable, linkFromMessage } from "../kernel/links.ts";
import type { HostView } from "./host.ts";
import type { Plan } from "./prepare.ts";

/** Names of the links that are ours: those of the plan, existing or not, and what runs before this one have left. `before`: the network of the last run. */
export function ownLinks(plan: Plan, view: HostView, before: PerFamily<Prefix>): ReadonlySet<string> {
  const networks = [plan.networks, before]
    .flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])
    .filter((each) => each !== undefined);
  return new Set([...plan.backend.linkNames(plan.backendConfig), ...leftoverLinks(view, networks)]);
}

/** Names of links that are a backend's and carry an address of one of these networks. */
function leftoverLinks({ links, addresses }: HostView, networks: readonly Prefix[]): string[] {
  const table = new LinkTable();
  for (const link of links) table.set(link);
  return links
    .filter((message) => {
      const link = linkFromMessage(message, table);
      if (!link || !looksLikeOurs(link.name, link.info.type)) return false;
      const own = addresses.filter(({ index }) => index === message.index);
      return own.some(({ address }) => networks.some((network) => contains(network, address)));
    })
    .map(({ name }) => name);
}
