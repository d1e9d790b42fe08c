import { expect, test } from "bun:test";
import { ConfigError } from "../config/fault.ts";
import type { NetworkConfig } from "../config/network.ts";
import type { Family } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import { chooseRules, ownNetworks, readFirewallFacts } from "./firewall.ts";

const RANGE = {} as NonNullable<NetworkConfig["ranges"]["ipv4"]>;

interface Case {
  readonly nftables?: boolean;
  readonly families?: readonly Family[];
  readonly masq?: boolean;
  readonly forward?: boolean;
  readonly programs: readonly string[];
}

const IPTABLES = ["iptables-save", "iptables-restore"];
const IP6TABLES = ["ip6tables-save", "ip6tables-restore"];
const EVERYTHING = ["nft", ...IPTABLES, ...IP6TABLES];

function choose({ nftables = false, families = ["ipv4"], masq = false, forward = true, programs }: Case) {
  const facts = readFirewallFacts((program) => (programs.includes(program) ? `/usr/sbin/${program}` : null));
  const ranges = Object.fromEntries(families.map((family) => [family, RANGE]));
  const flags = {
    ipMasq: masq,
    ipMasqFullyRandomDisable: false,
    iptablesForwardRules: forward,
    iptablesResync: 5,
    ipBlackholeRoute: false,
  };
  try {
    const { tool, warnings } = chooseRules({ enableNftables: nftables, ranges }, flags, facts);
    return [tool, ...warnings];
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
}

const ACCEPTS_NOT = "nothing accepts what is forwarded from and to the network";

test.each<[string, Case, readonly (string | undefined)[] | string]>([
  ["iptables by default", { programs: EVERYTHING }, ["iptables"]],
  ["nftables when EnableNFTables", { nftables: true, programs: EVERYTHING }, ["nftables"]],
  ["EnableNFTables needs no iptables", { nftables: true, programs: ["nft"], families: ["ipv6"] }, ["nftables"]],
  [
    "EnableNFTables needs nft",
    { nftables: true, programs: IPTABLES },
    "EnableNFTables: got true, want the program nft on this host (package nftables), or false",
  ],
  ["ip6tables is not needed without IPv6", { programs: IPTABLES }, ["iptables"]],
  [
    "nftables where ip6tables is missing",
    { families: ["ipv4", "ipv6"], programs: ["nft", ...IPTABLES] },
    ["nftables", "ip6tables not found on this host: firewall rules are made by nftables, as with EnableNFTables"],
  ],
  [
    "neither, and masquerade asked for",
    { masq: true, programs: [] },
    "--ip-masq: got true, but iptables not found on this host, want iptables with ip6tables, or nft, on this host (packages iptables, nftables)",
  ],
  [
    "neither, and no more than the default asked for",
    { programs: [] },
    [undefined, `iptables not found on this host, and no nft: ${ACCEPTS_NOT}`],
  ],
  ["nothing asked for", { nftables: true, forward: false, programs: [] }, [undefined]],
])("%s", (_title, given, outcome) => {
  expect<unknown>(choose(given)).toEqual(outcome);
});

test("the networks that are ours: the present ones, those of the last run, and a family that was turned off", () => {
  const [now, before, six] = ["10.5.0.0/16", "10.4.0.0/16", "fd00:5::/48"] as unknown as [Prefix, Prefix, Prefix];
  expect(ownNetworks({ ipv4: now }, { ipv4: now })).toEqual({ ipv4: [now] });
  expect(ownNetworks({ ipv4: now }, { ipv4: before, ipv6: six })).toEqual({ ipv4: [now, before], ipv6: [six] });
});
