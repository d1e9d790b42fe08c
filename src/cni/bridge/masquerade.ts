// `ipMasq`: packets of the container to outside of its subnet leave with the node's address. One chain for each container, in the form and with the name
// and comment of the reference plugin, so that either removes what the other made. Rare: flanneld masquerades for the whole network at once, and the flannel
// plugin then sets ipMasq false.
//
//   -A POSTROUTING -s 10.5.1.7/32 -j CNI-…       -m comment --comment "name: \"NETWORK\" id: \"CONTAINER\""
//   -A CNI-…       -d 10.5.1.0/24 -j ACCEPT
//   -A CNI-…       ! -d 224.0.0.0/4 -j MASQUERADE

import { FAMILIES, type Family } from "../../ip/family.ts";
import { type Prefix, prefixAddress, prefixFamily } from "../../ip/prefix.ts";
import { argumentsOf, changeTable, IptablesUnusable, quoteArgument, readTable, type SavedTable } from "../iptables.ts";

const TABLE = "nat";
const CHAIN = /^CNI-[0-9a-f]{24}$/;
const CHAIN_LENGTH = 28;
const MULTICAST: Readonly<Record<Family, string>> = { ipv4: "224.0.0.0/4", ipv6: "ff00::/8" };

/** Adds the rules for each of `addresses`. Throws CniError. */
export function addMasquerade(network: string, containerId: string, addresses: readonly Prefix[]): void {
  const chain = chainOf(network, containerId);
  const comment = `-m comment --comment ${quoteArgument(commentOf(network, containerId))}`;
  for (const family of FAMILIES) {
    const own = addresses.filter((address) => prefixFamily(address) === family);
    if (own.length === 0) continue;
    const rules = own.flatMap((address) => [
      `-A ${chain} -d ${address} -j ACCEPT ${comment}`,
      `-A ${chain} ! -d ${MULTICAST[family]} -j MASQUERADE ${comment}`,
      `-A POSTROUTING -s ${prefixAddress(address)} -j ${chain} ${comment}`,
    ]);
    // The line with ":" makes the chain, or empties it.
    changeTable(family, TABLE, [`:${chain} - [0:0]`, ...new Set(rules)]);
  }
}

/** Removes the rules of one container, whatever addresses they are for. Throws CniError. */
export function removeMasquerade(network: string, containerId: string): void {
  const own = chainOf(network, containerId);
  removeChains((chain) => chain === own);
}

/** Removes the rules of the containers of `network` that are not in `valid`. Throws CniError. */
export function removeStaleMasquerade(network: string, valid: readonly string[]): void {
  const kept = new Set(valid.map((containerId) => chainOf(network, containerId)));
  const mark = commentOf(network, "").replace(/"$/, "");
  const isOurs = (rule: string) => argumentsOf(rule).some((argument) => argument.startsWith(mark));
  removeChains((chain, rules) => !kept.has(chain) && rules.some(isOurs));
}

/** `isStale` is given a chain of the reference's kind, and the rules in it and to it. */
function removeChains(isStale: (chain: string, rules: readonly string[]) => boolean): void {
  for (const family of FAMILIES) {
    const saved = readTableIfAny(family);
    const jumps = saved.get("POSTROUTING") ?? [];
    const targets = jumps.map((rule) => argumentsOf(rule).find((argument) => CHAIN.test(argument)));
    const stale = new Set<string>();
    for (const chain of [...saved.keys(), ...targets.filter((target) => target !== undefined)]) {
      const rules = [...(saved.get(chain) ?? []), ...jumps.filter((_, i) => targets[i] === chain)];
      if (CHAIN.test(chain) && isStale(chain, rules)) stale.add(chain);
    }
    if (stale.size === 0) continue;
    const declared = [...stale].filter((chain) => saved.has(chain));
    changeTable(family, TABLE, [
      ...declared.map((chain) => `:${chain} - [0:0]`),
      ...jumps.filter((_, i) => stale.has(targets[i] ?? "")).map((rule) => `-D POSTROUTING ${rule}`),
      ...declared.map((chain) => `-X ${chain}`),
    ]);
  }
}

/** Where a family cannot be had, it holds no rule either. */
function readTableIfAny(family: Family): SavedTable {
  try {
    return readTable(family, TABLE);
  } catch (error) {
    if (error instanceof IptablesUnusable) return new Map();
    throw error;
  }
}

/** As the reference plugins name the chain of an attachment. */
export function chainOf(network: string, containerId: string): string {
  const hash = new Bun.CryptoHasher("sha512").update(network + containerId).digest("hex");
  return `CNI-${hash}`.slice(0, CHAIN_LENGTH);
}

/** Names of CNI need no escapes, so JSON quotes them as Go's %q does. */
function commentOf(network: string, containerId: string): string {
  return `name: ${JSON.stringify(network)} id: ${JSON.stringify(containerId)}`;
}
