// Firewall rules in neutral words. What flannel wants is said once in these (rules.ts); nftables.ts and iptables.ts say it in their tools' words and read it
// back, so that what stands is compared with what is wanted by meaning and not by spelling.

import type { Family } from "../ip/family.ts";
import { contains, type Prefix, prefixFamily } from "../ip/prefix.ts";

export interface PrefixMatch {
  readonly prefix: Prefix;
  /** Everything but this prefix. */
  readonly not: boolean;
}

/** masquerade and accept end a packet's way through its chain; return hands it back to where the chain was called from. */
export type Verdict = "masquerade" | "masquerade fully-random" | "accept" | "return";

/** All of what is given must match. */
export interface Rule {
  readonly kind: "rule";
  readonly from: PrefixMatch | undefined;
  readonly to: PrefixMatch | undefined;
  /** Bits of the packet's mark that must all be set; 0 asks for none. */
  readonly mark: number;
  readonly verdict: Verdict;
}

/** A rule that somebody else wrote into a chain of ours: flannel has no words for it. */
export interface UnknownRule {
  readonly kind: "unknown";
  readonly text: string;
}

/** masquerade: source NAT as a packet leaves (postrouting); forward: the filter of what the host passes on. */
export type Purpose = "masquerade" | "forward";
export const PURPOSES: readonly Purpose[] = ["masquerade", "forward"];

export interface Chain {
  readonly rules: readonly (Rule | UnknownRule)[];
  /** Whether packets come by: a base chain at the right hook, or the jump that leads to it. */
  readonly hooked: boolean;
}

/** All rules of one family in one tool; the kernel object of the firewall. */
export interface RuleSet {
  readonly kind: "nftables" | "iptables";
  readonly family: Family;
  readonly chains: { readonly [P in Purpose]: Chain | undefined };
  /** Commands that take away what else is ours: rules in an older flannel's form, doubled jumps. Wanted: none. */
  readonly leftovers: readonly string[];
}

export type RuleTool = RuleSet["kind"];

export const MULTICAST: Readonly<Record<Family, Prefix>> = {
  ipv4: "224.0.0.0/4" as Prefix,
  ipv6: "ff00::/8" as Prefix,
};

/**
 * Whether rules are a flannel's of one of these networks. Every rule set of a flannel names its network or a subnet of it, so that several on one host are
 * told apart; rules that name no prefix are nobody's.
 */
export function speakOf(rules: Chain["rules"], networks: readonly Prefix[]): boolean {
  return rules.every((rule) => rule.kind === "unknown" || [rule.from, rule.to].every((match) => isOf(match, networks)));
}

function isOf(match: PrefixMatch | undefined, networks: readonly Prefix[]): boolean {
  if (!match) return true;
  const family = prefixFamily(match.prefix);
  if (match.prefix === MULTICAST[family]) return true;
  return networks.some((network) => prefixFamily(network) === family && contains(network, match.prefix));
}

/** Follows upstream's names where those are another flannel's: eight digits made from the network. */
export function suffixOf(network: Prefix): string {
  let hash = 0x811c9dc5; // FNV-1a
  for (const character of network) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193) >>> 0;
  return `-${hash.toString(16).padStart(8, "0")}`;
}

/** What is found of ours in one tool and family, and what is appended to upstream's names to name it. */
export interface FoundRules {
  readonly family: Family;
  /** undefined: nothing of ours. */
  readonly set: RuleSet | undefined;
  readonly suffix: string;
}

/** The networks of one family whose rules are ours: the present one first, then the one before it. */
export type OwnNetworks = readonly [Prefix, ...Prefix[]];
