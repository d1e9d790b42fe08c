// Rule sets in nftables' words: a table of our own for each family, named as upstream's, so that upstream's is taken over by being replaced. All is replaced
// in one transaction: packets see the old table or the new one. nft(8), libnftables-json(5).
//
// An accept here ends only this table's own chain: what another table drops stays dropped (docs/firewall.md).

import type { Family } from "../ip/family.ts";
import { parsePrefix } from "../ip/prefix.ts";
import {
  type Chain,
  type FoundRules,
  type OwnNetworks,
  type PrefixMatch,
  PURPOSES,
  type Purpose,
  type Rule,
  type RuleSet,
  speakOf,
  suffixOf,
  type UnknownRule,
} from "./rule.ts";

/** nft's names of the families, and of the fields that addresses are in. */
export const NFT_FAMILY: Readonly<Record<Family, "ip" | "ip6">> = { ipv4: "ip", ipv6: "ip6" };

/** Priorities by number, as old versions of nft want them: srcnat and filter. */
const CHAINS = {
  masquerade: { name: "postrtg", type: "nat", hook: "postrouting", prio: 100 },
  forward: { name: "forward", type: "filter", hook: "forward", prio: 0 },
} as const satisfies Record<Purpose, unknown>;

export function tableName(family: Family, suffix = ""): string {
  return `flannel-${family}${suffix}`;
}

/** Names under which a table of ours may stand. */
export function tableNames(family: Family, networks: OwnNetworks): string[] {
  return [tableName(family), ...networks.map((network) => tableName(family, suffixOf(network)))];
}

/** The commands of nft that bring `actual` to `desired`; undefined for what is not there or not wanted. */
export function nftLines(desired: RuleSet | undefined, actual: RuleSet | undefined, suffix = ""): string[] {
  const family = desired?.family ?? actual?.family;
  if (!family) return [];
  const table = `${NFT_FAMILY[family]} ${tableName(family, suffix)}`;
  const stands = actual && PURPOSES.some((purpose) => actual.chains[purpose]);
  const deletions = new Set([...(actual?.leftovers ?? []), ...(stands ? [`delete table ${table}`] : [])]);
  const additions = desired
    ? [`add table ${table}`, ...PURPOSES.flatMap((purpose) => chainLines(desired, purpose, table))]
    : [];
  return [...deletions, ...additions];
}

/**
 * The same for `nft -f`. What was seen and is gone by then makes no error; what was not there and is now does, since another flannel may have taken the name
 * meanwhile.
 */
export function nftTransaction(desired: RuleSet | undefined, actual: RuleSet | undefined, suffix = ""): string {
  const lines = nftLines(desired, actual, suffix);
  const deleted = lines.flatMap((line) => /^delete (table .*)$/.exec(line)?.[1] ?? []);
  const made = lines.flatMap((line) => /^add (table .*)$/.exec(line)?.[1] ?? []);
  return [
    ...deleted.flatMap((table) => [`add ${table}`, `delete ${table}`]),
    ...made.map((table) => `create ${table}`),
    ...lines.filter((line) => !/^(?:add|delete) table /.test(line)),
    "",
  ].join("\n");
}

function chainLines({ family, chains }: RuleSet, purpose: Purpose, table: string): string[] {
  const chain = chains[purpose];
  if (!chain) return [];
  const { name, type, hook, prio } = CHAINS[purpose];
  return [
    `add chain ${table} ${name} { type ${type} hook ${hook} priority ${prio}; }`,
    ...chain.rules.map((rule) => `add rule ${table} ${name} ${ruleText(rule, NFT_FAMILY[family])}`),
  ];
}

function ruleText(rule: Rule | UnknownRule, ip: "ip" | "ip6"): string {
  if (rule.kind === "unknown") return rule.text;
  const { from, to, mark, verdict } = rule;
  const address = (field: string, match: PrefixMatch | undefined) =>
    match ? [`${ip} ${field} ${match.not ? "!= " : ""}${match.prefix}`] : [];
  const bits = `0x${mark.toString(16)}`;
  return [
    ...(mark === 0 ? [] : [`meta mark & ${bits} == ${bits}`]),
    ...address("saddr", from),
    ...address("daddr", to),
    verdict,
  ].join(" ");
}

/** What `nft -j list table` prints, as far as it is looked at. */
export interface NftListing {
  readonly nftables: readonly NftEntry[];
}

interface NftEntry {
  readonly chain?: {
    readonly name: string;
    readonly type?: string;
    readonly hook?: string;
    readonly prio?: number;
    readonly policy?: string;
  };
  readonly rule?: { readonly chain: string; readonly expr: readonly unknown[] };
}

/** What is ours among tables by name, all of one family. */
export function readNftTables(
  family: Family,
  networks: OwnNetworks,
  tables: ReadonlyMap<string, NftListing>,
): FoundRules {
  const chainsOf = (name: string) => readTable(tables.get(name));
  const isOurs = (name: string) => PURPOSES.every((purpose) => speakOf(chainsOf(name)[purpose]?.rules ?? [], networks));
  const [base, own] = [tableName(family), tableName(family, suffixOf(networks[0]))];
  const suffix = tables.has(own) || (tables.has(base) && !isOurs(base)) ? suffixOf(networks[0]) : "";
  const name = tableName(family, suffix);
  const chains = chainsOf(name);
  // A table that holds nothing, or a chain that flannel has no word for, is to go as a whole.
  const isOdd = hasStrangeChain(tables.get(name)) || PURPOSES.every((purpose) => !chains[purpose]);
  const unwanted = (each: string) => tables.has(each) && (each === name ? isOdd : isOurs(each));
  const leftovers = tableNames(family, networks)
    .filter(unwanted)
    .map((each) => `delete table ${NFT_FAMILY[family]} ${each}`);
  if (!tables.has(name) && leftovers.length === 0) return { family, set: undefined, suffix };
  return { family, set: { kind: "nftables", family, chains, leftovers }, suffix };
}

function hasStrangeChain(listing: NftListing | undefined): boolean {
  const names = PURPOSES.map((purpose) => CHAINS[purpose].name as string);
  return listing?.nftables.some(({ chain }) => chain && !names.includes(chain.name)) ?? false;
}

function readTable(listing: NftListing | undefined): RuleSet["chains"] {
  const chain = (purpose: Purpose): Chain | undefined => {
    const { name, type, hook, prio } = CHAINS[purpose];
    const found = listing?.nftables.find((entry) => entry.chain?.name === name)?.chain;
    if (!found) return undefined;
    const rules = listing?.nftables.flatMap(({ rule }) => (rule?.chain === name ? [readRule(rule.expr)] : [])) ?? [];
    const hooked =
      found.type === type && found.hook === hook && found.prio === prio && (found.policy ?? "accept") === "accept";
    return { rules, hooked };
  };
  return { masquerade: chain("masquerade"), forward: chain("forward") };
}

function readRule(expressions: readonly unknown[]): Rule | UnknownRule {
  const unknown: UnknownRule = { kind: "unknown", text: JSON.stringify(expressions) };
  let from: PrefixMatch | undefined;
  let to: PrefixMatch | undefined;
  let mark = 0;
  let verdict: Rule["verdict"] | undefined;
  for (const expression of expressions) {
    if (typeof expression !== "object" || expression === null) return unknown;
    const [word, value] = Object.entries(expression)[0] ?? [];
    if (verdict !== undefined) return unknown;
    if (word === "counter") continue; // upstream's count
    if (word === "accept" || word === "return") verdict = word;
    else if (word === "masquerade") verdict = readMasquerade(value);
    else if (word === "match") {
      const match = readMatch(value as NftMatch);
      if (match?.field === "saddr" && !from) from = match.match;
      else if (match?.field === "daddr" && !to) to = match.match;
      else if (match?.field === "mark" && mark === 0) mark = match.bits;
      else return unknown;
    } else return unknown;
    if (word !== "match" && verdict === undefined) return unknown;
  }
  return verdict ? { kind: "rule", from, to, mark, verdict } : unknown;
}

function readMasquerade(value: unknown): Rule["verdict"] | undefined {
  if (value === null) return "masquerade";
  const flags = (value as { flags?: unknown }).flags;
  const list = Array.isArray(flags) ? flags : [flags];
  return list.length === 1 && list[0] === "fully-random" ? "masquerade fully-random" : undefined;
}

interface NftMatch {
  readonly op: string;
  readonly left: {
    readonly payload?: { readonly protocol?: string; readonly field?: string };
    readonly "&"?: readonly [{ readonly meta?: { readonly key?: string } }, number];
  };
  readonly right: unknown;
}

type ReadMatch =
  | { readonly field: "saddr" | "daddr"; readonly match: PrefixMatch }
  | { readonly field: "mark"; readonly bits: number };

function readMatch({ op, left, right }: NftMatch): ReadMatch | undefined {
  const masked = left["&"];
  if (masked) {
    const [what, bits] = masked;
    return what.meta?.key === "mark" && op === "==" && bits === right ? { field: "mark", bits } : undefined;
  }
  const field = left.payload?.field;
  if ((field !== "saddr" && field !== "daddr") || (op !== "==" && op !== "!=")) return undefined;
  const { addr, len } = (right as { prefix?: { addr?: string; len?: number } }).prefix ?? {};
  const prefix = parsePrefix(typeof right === "string" ? hostPrefix(right) : `${addr}/${len}`);
  return prefix && { field, match: { prefix, not: op === "!=" } };
}

function hostPrefix(address: string): string {
  return `${address}/${address.includes(":") ? 128 : 32}`;
}
