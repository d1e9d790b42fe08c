// Brings rules into the kernel and out of it, each by one reading and at most one transaction.
//
// Reading and writing are two steps, and 50 pods may come at once. So one of ours works at a time in a network namespace: the lock is on the namespace itself,
// which is what the rules belong to. Other programs do not take it; for them it is tried again when a change is refused.

import type { Family } from "../../ip/family.ts";
import { close, flock, LOCK_EX, O_RDONLY, open } from "../../sys/libc.ts";
import { changeTable, hasRule, readChain, readTable, type SavedTable } from "../iptables.ts";
import { ENTRY_CHAIN, entryTarget, type Rule, type RuleSet, TABLE } from "./rules.ts";

const OWN_NAMESPACE = "/proc/thread-self/ns/net";
/** Each further one means that somebody else changed the same chains meanwhile. */
const ATTEMPTS = 5;

/** Runs `act` while no other process of ours changes rules in this network namespace. */
export function withRulesLocked(act: () => void): void {
  const namespace = open(OWN_NAMESPACE, O_RDONLY);
  try {
    flock(namespace, LOCK_EX, OWN_NAMESPACE);
    act();
  } finally {
    close(namespace);
  }
}

/** Makes what is missing of `wanted`. */
export function putRules(family: Family, wanted: RuleSet): void {
  let refused: { readonly lines: string; readonly error: unknown } | undefined;
  for (let attempt = 1; ; attempt++) {
    const saved = readTable(family, TABLE);
    const lines = missingLines(family, saved, wanted);
    if (lines.length === 0) return;
    // Nothing changed since it was refused: so it was not for that.
    if (refused?.lines === lines.join("\n")) throw refused.error;
    try {
      changeTable(family, TABLE, lines);
      return;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      refused = { lines: lines.join("\n"), error };
    }
  }
}

/** What of `wanted` is not there, each in a few words. */
export function missingRules(family: Family, wanted: RuleSet): string[] {
  return missingLines(family, readTable(family, TABLE), wanted);
}

function missingLines(family: Family, saved: SavedTable, { chains, rules }: RuleSet): string[] {
  const lines = new Set(chains.filter((chain) => !saved.has(chain)).map((chain) => `-N ${chain}`));
  for (const rule of rules) {
    if (!isThere(family, saved, rule)) lines.add(`${rule.first ? "-I" : "-A"} ${rule.chain} ${rule.text}`);
  }
  return [...lines];
}

/**
 * Our text is what iptables-save writes, but for conditions and versions that write otherwise; in doubt iptables is asked, for rules that lead to a chain.
 * Of others `ip6tables-legacy -C` cannot tell: to it two DNAT rules with different ports are one.
 */
function isThere(family: Family, saved: SavedTable, { chain, text }: Rule): boolean {
  const present = saved.get(chain) ?? [];
  if (present.includes(text)) return true;
  const own = leadsTo(text);
  return own !== undefined && present.some((rule) => leadsTo(rule) === own) && hasRule(family, TABLE, chain, text);
}

/** The chain that a rule leads to, and on which ports: all forms of one rule agree in it. */
function leadsTo(rule: string): string | undefined {
  const [, chain] = / -j (CNI-\S+)$/.exec(rule) ?? [];
  const [, ports] = / --(?:dports|destination-ports|dport) (\S+)/.exec(rule) ?? [];
  return chain === undefined ? undefined : `${chain} ${ports}`;
}

/** Removes a container's chain and its entries. */
export function removeContainer(family: Family, chain: string): void {
  // The whole table may hold tens of thousands of rules; without the entry chain it must be asked whether iptables works at all.
  const entries = readChain(family, TABLE, ENTRY_CHAIN);
  if (!entries && !readTable(family, TABLE).has(chain)) return;
  const own = (entries ?? []).filter((rule) => entryTarget(rule) === chain);
  changeTable(family, TABLE, removalLines(chain, own));
}

/** Removes the chains and entries that `isStale` picks by their entry rule. */
export function removeStale(family: Family, isStale: (entry: string) => boolean): void {
  const entries = readTable(family, TABLE).get(ENTRY_CHAIN) ?? [];
  const chains = new Set(entries.filter(isStale).flatMap((entry) => entryTarget(entry) ?? []));
  const lines = [...chains].flatMap((chain) =>
    removalLines(
      chain,
      entries.filter((entry) => entryTarget(entry) === chain),
    ),
  );
  if (lines.length > 0) changeTable(family, TABLE, lines);
}

function removalLines(chain: string, entries: readonly string[]): string[] {
  // Declaring a chain makes it, or empties it: so it can be removed, whether it was there or not.
  return [`:${chain} - [0:0]`, ...entries.map((entry) => `-D ${ENTRY_CHAIN} ${entry}`), `-X ${chain}`];
}
