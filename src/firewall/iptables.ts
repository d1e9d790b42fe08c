// Rule sets in iptables' words: a chain for each purpose, named as upstream's and called from the built-in chain by one jump, which bears upstream's comment.
// `iptables-restore --noflush` replaces the content of a declared chain in one step and leaves everybody else's rules alone. iptables-restore(8).
//
// Older flannels had no chains: v0.7.1 put three bare rules into POSTROUTING, later ones bare rules with the comments. They are found and go with the first
// replacement. v0.7.1's have no mark of their own, so they count only when all three are there.

import type { Family } from "../ip/family.ts";
import { parsePrefix } from "../ip/prefix.ts";
import {
  type Chain,
  type FoundRules,
  MULTICAST,
  type OwnNetworks,
  type PrefixMatch,
  PURPOSES,
  type Purpose,
  type Rule,
  type RuleSet,
  speakOf,
  suffixOf,
  type UnknownRule,
  type Verdict,
} from "./rule.ts";

interface Place {
  readonly table: "nat" | "filter";
  readonly hook: "POSTROUTING" | "FORWARD";
  readonly chain: string;
  readonly comment: string;
}

const PLACES: Readonly<Record<Purpose, Place>> = {
  masquerade: { table: "nat", hook: "POSTROUTING", chain: "FLANNEL-POSTRTG", comment: "flanneld masq" },
  forward: { table: "filter", hook: "FORWARD", chain: "FLANNEL-FWD", comment: "flanneld forward" },
};

const TARGETS: Readonly<Record<Verdict, string>> = {
  masquerade: "MASQUERADE",
  "masquerade fully-random": "MASQUERADE --random-fully",
  accept: "ACCEPT",
  return: "RETURN",
};

/** The program of a family, for its names: iptables, iptables-save, iptables-restore. */
export const IPTABLES: Readonly<Record<Family, "iptables" | "ip6tables">> = { ipv4: "iptables", ipv6: "ip6tables" };

/** What is done in one table, in the order of doing it. */
interface TableWork {
  readonly table: Place["table"];
  /** A chain that is made, or emptied when it exists. */
  readonly declared: { readonly name: string; readonly exists: boolean } | undefined;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** The commands that bring `actual` to `desired`, as they follow the program's name: `-t nat -A …`. */
export function iptablesLines(desired: RuleSet | undefined, actual: RuleSet | undefined, suffix = ""): string[] {
  return tableWorks(desired, actual, suffix).flatMap(({ table, declared, before, after }) => {
    const declare = declared ? [`${declared.exists ? "-F" : "-N"} ${declared.name}`] : [];
    return [...before, ...declare, ...after].map((line) => `-t ${table} ${line}`);
  });
}

/**
 * The same as one text for `iptables-restore --noflush`; "" when nothing is to be done. A chain that was seen is declared, which empties it; one that was not
 * is made, and refused when another flannel has taken its name meanwhile.
 */
export function restoreText(desired: RuleSet | undefined, actual: RuleSet | undefined, suffix = ""): string {
  return tableWorks(desired, actual, suffix)
    .map(({ table, declared, before, after }) => {
      const declare = declared ? [declared.exists ? `:${declared.name} - [0:0]` : `-N ${declared.name}`] : [];
      return [`*${table}`, ...declare, ...before, ...after, "COMMIT", ""].join("\n");
    })
    .join("");
}

function tableWorks(desired: RuleSet | undefined, actual: RuleSet | undefined, suffix: string): TableWork[] {
  const works = PURPOSES.map((purpose): TableWork => {
    const { table, hook, chain, comment } = PLACES[purpose];
    const name = chain + suffix;
    const [wanted, found] = [desired?.chains[purpose], actual?.chains[purpose]];
    const mark = `-m comment --comment "${comment}"`;
    const before = (actual?.leftovers ?? []).flatMap((line) => {
      const [, where, command] = /^-t (\S+) (.*)$/.exec(line) ?? [];
      return where === table && command !== undefined ? [command] : [];
    });
    const same = wanted && found?.hooked && JSON.stringify(wanted.rules) === JSON.stringify(found.rules);
    if (same || (!wanted && !found)) return { table, declared: undefined, before, after: [] };
    const jump = `${hook} ${mark} -j ${name}`;
    if (!wanted) {
      const after = [...(found?.hooked ? [`-D ${jump}`] : []), `-F ${name}`, `-X ${name}`];
      return { table, declared: undefined, before, after };
    }
    const rules = wanted.rules.map((rule) => `-A ${name} ${ruleText(rule, mark)}`);
    const after = [...rules, ...(found?.hooked ? [] : [`-A ${jump}`])];
    return { table, declared: { name, exists: found !== undefined }, before, after };
  });
  return works.filter(({ before, after }) => before.length + after.length > 0);
}

/** As iptables-save would print it. */
function ruleText(rule: Rule | UnknownRule, comment: string): string {
  if (rule.kind === "unknown") return rule.text;
  const { from, to, mark, verdict } = rule;
  const address = (option: string, match: PrefixMatch | undefined) =>
    match ? [`${match.not ? "! " : ""}${option} ${match.prefix}`] : [];
  const bits = `0x${mark.toString(16)}`;
  return [
    ...address("-s", from),
    ...address("-d", to),
    ...(mark === 0 ? [] : [`-m mark --mark ${bits}/${bits}`]),
    comment,
    `-j ${TARGETS[verdict]}`,
  ].join(" ");
}

/** One line of iptables-save: `-A CHAIN …`. */
interface SavedRule {
  readonly chain: string;
  /** What follows the chain, as it stands. */
  readonly text: string;
  readonly comment: string;
  readonly jump: string;
  readonly rule: Rule | UnknownRule;
}

/** What is ours in the output of iptables-save or ip6tables-save. `networks`: of its family. */
export function readIptables(save: string, family: Family, networks: OwnNetworks): FoundRules {
  const tables = readTables(save);
  const own = suffixOf(networks[0]);
  const has = (purpose: Purpose, suffix: string) =>
    tables[PLACES[purpose].table].chains.has(PLACES[purpose].chain + suffix);
  const rulesOf = (purpose: Purpose, suffix: string) =>
    tables[PLACES[purpose].table].rules.filter(({ chain }) => chain === PLACES[purpose].chain + suffix);
  const isOurs = (purpose: Purpose, suffix: string) =>
    speakOf(
      rulesOf(purpose, suffix).map(({ rule }) => rule),
      networks,
    );
  const taken = PURPOSES.some((purpose) => has(purpose, own) || (has(purpose, "") && !isOurs(purpose, "")));
  const suffix = taken ? own : "";

  const leftovers: string[] = [];
  const read = (purpose: Purpose): Chain | undefined => {
    const { table, hook, chain, comment } = PLACES[purpose];
    const hooks = tables[table].rules.filter((each) => each.chain === hook);
    const names = new Set(["", ...networks.map(suffixOf)]);
    const others = [...names].filter((other) => other !== suffix && has(purpose, other) && isOurs(purpose, other));
    let hooked = false;
    for (const { jump, text, comment: given, rule } of hooks) {
      const isJump = jump === chain + suffix;
      if (isJump && !hooked && isPlainJump(text, comment)) hooked = true;
      else if (isJump || others.some((other) => jump === chain + other) || isBare(given, comment, rule, networks))
        leftovers.push(`-t ${table} -D ${hook} ${text}`);
    }
    if (purpose === "masquerade") leftovers.push(...firstMasquerade(hooks, family, networks));
    for (const other of others) leftovers.push(`-t ${table} -F ${chain + other}`, `-t ${table} -X ${chain + other}`);
    return has(purpose, suffix) ? { rules: rulesOf(purpose, suffix).map(({ rule }) => rule), hooked } : undefined;
  };
  const chains = { masquerade: read("masquerade"), forward: read("forward") };
  const isNothing = leftovers.length === 0 && PURPOSES.every((purpose) => !chains[purpose]);
  return { family, set: isNothing ? undefined : { kind: "iptables", family, chains, leftovers }, suffix };
}

function isPlainJump(text: string, comment: string): boolean {
  return text.startsWith(`-m comment --comment "${comment}" -j `) && text.split(" -j ")[1]?.includes(" ") === false;
}

/** A rule of the flannels between v0.7.1 and the chains: our comment, our network, right in the built-in chain. */
function isBare(given: string, comment: string, rule: Rule | UnknownRule, networks: OwnNetworks): boolean {
  if (given !== comment || rule.kind === "unknown") return false;
  return (rule.from !== undefined || rule.to !== undefined) && speakOf([rule], networks);
}

/** v0.7.1's three rules, when all are there. */
function firstMasquerade(hooks: readonly SavedRule[], family: Family, networks: OwnNetworks): string[] {
  return networks.flatMap((network) => {
    const forms = [
      `-s ${network} -d ${network} -j RETURN`,
      `-s ${network} ! -d ${MULTICAST[family]} -j MASQUERADE`,
      `! -s ${network} -d ${network} -j MASQUERADE`,
    ];
    const found = forms.every((form) => hooks.some(({ text }) => text === form));
    return found ? forms.map((form) => `-t nat -D POSTROUTING ${form}`) : [];
  });
}

interface SavedTable {
  readonly chains: Set<string>;
  readonly rules: SavedRule[];
}

/** Only lines that can be ours are looked at: kube-proxy's are thousands. */
function readTables(save: string): Record<Place["table"], SavedTable> {
  const tables = {
    nat: { chains: new Set<string>(), rules: [] as SavedRule[] },
    filter: { chains: new Set<string>(), rules: [] as SavedRule[] },
  };
  let table: SavedTable | undefined;
  for (const line of save.split("\n")) {
    if (line.startsWith("*")) table = line === "*nat" ? tables.nat : line === "*filter" ? tables.filter : undefined;
    else if (line.startsWith(":FLANNEL-")) table?.chains.add(line.slice(1, line.indexOf(" ")));
    else if (/^-A (?:POSTROUTING|FORWARD|FLANNEL-\S+) /.test(line)) table?.rules.push(readRule(line));
  }
  return tables;
}

function readRule(line: string): SavedRule {
  const [, chain = "", text = ""] = /^-A (\S+) (.*)$/.exec(line) ?? [];
  const words = [...text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");
  let from: PrefixMatch | undefined;
  let to: PrefixMatch | undefined;
  let mark = 0;
  let comment = "";
  let jump = "";
  let random = false;
  let known = true;
  let not = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const value = () => words[++i] ?? "";
    if (word === "!") {
      not = true;
      continue;
    }
    if (word === "-s" || word === "-d") {
      const prefix = parsePrefix(value());
      if (!prefix) known = false;
      else if (word === "-s") from = { prefix, not };
      else to = { prefix, not };
    } else if (word === "-m") known &&= ["comment", "mark"].includes(value()) && !not;
    else if (word === "--comment") comment = value();
    else if (word === "--mark") {
      const [bits, mask] = value().split("/").map(Number);
      mark = bits ?? 0;
      known &&= bits === mask && !not;
    } else if (word === "-j") jump = value();
    else if (word === "--random-fully") random = true;
    else known = false;
    not = false;
  }
  const verdict = verdictOf(jump, random);
  const rule: Rule | UnknownRule =
    known && verdict ? { kind: "rule", from, to, mark, verdict } : { kind: "unknown", text };
  return { chain, text, comment, jump, rule };
}

function verdictOf(jump: string, random: boolean): Verdict | undefined {
  const target = random ? `${jump} --random-fully` : jump;
  const found = Object.entries(TARGETS).find(([, text]) => text === target);
  return found?.[0] as Verdict | undefined;
}
