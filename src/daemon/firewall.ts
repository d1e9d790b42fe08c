// Which rules this node gets and by which tool, and whether what no pod has is dropped by a route: what is asked for (flags, EnableNFTables) against what the host has. The one place that chooses; whatever
// more is to be looked at (what kube-proxy or firewalld use) becomes a fact here.

import { ConfigError } from "../config/fault.ts";
import type { Options } from "../config/flags.ts";
import type { NetworkConfig } from "../config/network.ts";
import type { OwnNetworks, RuleSet, RuleTool } from "../firewall/rule.ts";
import { type RuleOptions, ruleSets } from "../firewall/rules.ts";
import { type Family, familiesOf, type PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import { Iptables } from "../kernel/iptables.ts";
import { Nftables } from "../kernel/nftables.ts";
import { RuleDriver } from "../kernel/rule_driver.ts";
import type { Blackhole } from "../state/object.ts";

/** What the host has of the firewall's programs. */
export interface FirewallFacts {
  readonly nft: boolean;
  /** The families whose rules iptables can make: ip6tables is a program of its own. */
  readonly iptables: ReadonlySet<Family>;
}

export function readFirewallFacts(which: (program: string) => string | null = Bun.which): FirewallFacts {
  const has = (program: string) => which(program) !== null;
  const families: [Family, string][] = [
    ["ipv4", "iptables"],
    ["ipv6", "ip6tables"],
  ];
  const found = families.filter(([, program]) => has(`${program}-save`) && has(`${program}-restore`));
  return { nft: has("nft"), iptables: new Set(found.map(([family]) => family)) };
}

export interface RuleChoice {
  /** undefined: no rules. */
  readonly tool: RuleTool | undefined;
  readonly options: RuleOptions;
  /** A route that drops packets to addresses of the own subnets which lead nowhere. */
  readonly blackhole: boolean;
  readonly warnings: readonly string[];
}

export type RuleFlags = Pick<
  Options,
  "ipMasq" | "ipMasqFullyRandomDisable" | "iptablesForwardRules" | "iptablesResync" | "ipBlackholeRoute"
>;

/** Throws ConfigError when what is asked for needs a program that is not there. Forward rules are asked for by default and so only warned about. */
export function chooseRules(
  { enableNftables, ranges }: Pick<NetworkConfig, "enableNftables" | "ranges">,
  flags: RuleFlags,
  facts: FirewallFacts,
): RuleChoice {
  const options = {
    masquerade: flags.ipMasq,
    fullyRandom: !flags.ipMasqFullyRandomDisable,
    forward: flags.iptablesForwardRules,
  };
  const blackhole = flags.ipBlackholeRoute;
  const chosen = (tool: RuleTool | undefined, ...warnings: string[]) => ({ tool, options, blackhole, warnings });
  if (!options.masquerade && !options.forward) return chosen(undefined);
  if (enableNftables) {
    if (facts.nft) return chosen("nftables");
    throw new ConfigError([
      { where: "EnableNFTables", got: "true", want: "the program nft on this host (package nftables), or false" },
    ]);
  }
  const missing = familiesOf(ranges).filter((family) => !facts.iptables.has(family));
  if (missing.length === 0) return chosen("iptables");
  const lacking = `${missing.map((family) => (family === "ipv4" ? "iptables" : "ip6tables")).join(" and ")} not found on this host`;
  if (facts.nft) return chosen("nftables", `${lacking}: firewall rules are made by nftables, as with EnableNFTables`);
  if (!options.masquerade)
    return chosen(undefined, `${lacking}, and no nft: nothing accepts what is forwarded from and to the network`);
  const want = "iptables with ip6tables, or nft, on this host (packages iptables, nftables)";
  throw new ConfigError([{ where: "--ip-masq", got: `true, but ${lacking}`, want }]);
}

/** The rule sets of a node with this lease, and its blackholes. */
export function rulesOf(
  { tool, options, blackhole }: RuleChoice,
  networks: PerFamily<Prefix>,
  subnets: PerFamily<Prefix>,
): (RuleSet | Blackhole)[] {
  const rules = tool ? ruleSets(tool, networks, subnets, options) : [];
  const dropped = blackhole ? [subnets.ipv4, subnets.ipv6].filter((dst) => dst !== undefined) : [];
  return [...rules, ...dropped.map((dst): Blackhole => ({ kind: "blackhole", dst }))];
}

/** How soon rules of the tool that is not chosen are looked for: they are left from before a switch, and must not slow the start. */
const SWEEP_AFTER_MS = 1_000;

/** Drivers of both tools as far as the host has them: one makes rules, the other takes away what is left of ours. */
export function ruleDrivers(
  { tool }: RuleChoice,
  facts: FirewallFacts,
  networks: PerFamily<OwnNetworks>,
  { sweepAfter = SWEEP_AFTER_MS, periodMs }: { readonly sweepAfter?: "now" | number; readonly periodMs: number },
): RuleDriver[] {
  const when = (own: RuleTool) => (tool === own ? "now" : sweepAfter);
  const { ipv4, ipv6 } = networks;
  const byIptables = {
    ...(ipv4 && facts.iptables.has("ipv4") && { ipv4 }),
    ...(ipv6 && facts.iptables.has("ipv6") && { ipv6 }),
  };
  return [
    ...(facts.nft ? [new RuleDriver(new Nftables({ networks }), { firstLook: when("nftables") })] : []),
    ...(facts.iptables.size > 0
      ? [
          new RuleDriver(new Iptables({ networks: byIptables }), {
            firstLook: when("iptables"),
            ...(tool === "iptables" && { periodMs }),
          }),
        ]
      : []),
  ];
}

/** The networks whose rules are this flanneld's: the present one, and the one that its subnet.env tells of. */
export function ownNetworks(networks: PerFamily<Prefix>, previous: PerFamily<Prefix>): PerFamily<OwnNetworks> {
  const own = (family: Family): OwnNetworks | undefined => {
    const [network, before] = [networks[family], previous[family]];
    if (!network) return before && [before]; // the family was turned off
    return before && before !== network ? [network, before] : [network];
  };
  const [ipv4, ipv6] = [own("ipv4"), own("ipv6")];
  return { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) };
}
