import { describe, expect, test } from "bun:test";
import type { Family } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import { iptablesLines, readIptables, restoreText } from "./iptables.ts";
import { nftLines, nftTransaction } from "./nftables.ts";
import { type OwnNetworks, type RuleSet, type RuleTool, speakOf, suffixOf } from "./rule.ts";
import { type RuleOptions, ruleSets } from "./rules.ts";

const FAMILIES = [
  { family: "ipv4", network: "10.5.0.0/16", subnet: "10.5.7.0/24", multicast: "224.0.0.0/4", ip: "ip" },
  { family: "ipv6", network: "fd00:5::/48", subnet: "fd00:5:0:7::/64", multicast: "ff00::/8", ip: "ip6" },
] as const;

const ALL: RuleOptions = { masquerade: true, fullyRandom: true, forward: true };

function setOf(tool: RuleTool, family: Family, options: Partial<RuleOptions> = {}): RuleSet {
  const { network, subnet } = FAMILIES.find((each) => each.family === family) ?? FAMILIES[0];
  const [set] = ruleSets(tool, { [family]: network as Prefix }, { [family]: subnet as Prefix }, { ...ALL, ...options });
  if (!set) throw new Error("no rules");
  return set;
}

describe.each(FAMILIES)("rules of $family", ({ family, network, subnet, multicast, ip }) => {
  test("as nft has them", () => {
    const table = `${ip} flannel-${family}`;
    expect(nftLines(setOf("nftables", family), undefined)).toEqual([
      `add table ${table}`,
      `add chain ${table} postrtg { type nat hook postrouting priority 100; }`,
      `add rule ${table} postrtg meta mark & 0x4000 == 0x4000 return`,
      `add rule ${table} postrtg ${ip} saddr ${network} ${ip} daddr ${network} return`,
      `add rule ${table} postrtg ${ip} saddr != ${network} ${ip} daddr ${subnet} return`,
      `add rule ${table} postrtg ${ip} saddr ${network} ${ip} daddr != ${multicast} masquerade fully-random`,
      `add rule ${table} postrtg ${ip} saddr != ${network} ${ip} daddr ${network} masquerade fully-random`,
      `add chain ${table} forward { type filter hook forward priority 0; }`,
      `add rule ${table} forward ${ip} saddr ${network} accept`,
      `add rule ${table} forward ${ip} daddr ${network} accept`,
    ]);
  });

  test("as iptables-restore has them", () => {
    const masq = '-m comment --comment "flanneld masq"';
    const forward = '-m comment --comment "flanneld forward"';
    expect(restoreText(setOf("iptables", family), undefined)).toBe(`*nat
-N FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${masq} -j RETURN
-A FLANNEL-POSTRTG -s ${network} -d ${network} ${masq} -j RETURN
-A FLANNEL-POSTRTG ! -s ${network} -d ${subnet} ${masq} -j RETURN
-A FLANNEL-POSTRTG -s ${network} ! -d ${multicast} ${masq} -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s ${network} -d ${network} ${masq} -j MASQUERADE --random-fully
-A POSTROUTING ${masq} -j FLANNEL-POSTRTG
COMMIT
*filter
-N FLANNEL-FWD
-A FLANNEL-FWD -s ${network} ${forward} -j ACCEPT
-A FLANNEL-FWD -d ${network} ${forward} -j ACCEPT
-A FORWARD ${forward} -j FLANNEL-FWD
COMMIT
`);
  });

  test("what iptables-save prints of them is read as the same", () => {
    const wanted = setOf("iptables", family);
    const saved = restoreText(wanted, undefined).replace(/^-N (\S+)$/gm, ":$1 - [0:0]");
    const found = readIptables(saved, family, [network as Prefix]);
    expect(found).toEqual({ family, set: wanted, suffix: "" });
    expect(restoreText(wanted, found.set)).toBe("");
  });
});

test.each<[string, Partial<RuleOptions>, readonly string[]]>([
  ["--ip-masq=false", { masquerade: false }, ["forward"]],
  ["--iptables-forward-rules=false", { forward: false }, ["postrtg"]],
])("%s leaves its chain out", (_flag, options, chains) => {
  const lines = nftLines(setOf("nftables", "ipv4", options), undefined);
  expect(lines.filter((line) => line.startsWith("add chain")).map((line) => line.split(" ")[4])).toEqual([...chains]);
});

test("nothing asked for makes no rules; ports in their order without fully-random", () => {
  const networks = { ipv4: "10.5.0.0/16" as Prefix };
  expect(ruleSets("nftables", networks, {}, { masquerade: false, fullyRandom: true, forward: false })).toEqual([]);
  const texts = [
    ...nftLines(setOf("nftables", "ipv4", { fullyRandom: false }), undefined),
    ...iptablesLines(setOf("iptables", "ipv4", { fullyRandom: false }), undefined),
  ];
  expect(texts.filter((line) => line.includes("random"))).toEqual([]);
});

test("a table is replaced in one transaction", () => {
  const [wanted, other] = [setOf("nftables", "ipv4"), setOf("nftables", "ipv4", { forward: false })];
  const table = "table ip flannel-ipv4";
  const gone = `add ${table}\ndelete ${table}\n`;
  expect(nftTransaction(wanted, other)).toStartWith(`${gone}create ${table}\nadd chain `);
  expect(nftTransaction(wanted, undefined)).toStartWith(`create ${table}\nadd chain `);
  expect(nftTransaction(undefined, wanted)).toBe(gone);
});

test("a chain that was seen is emptied by declaring it", () => {
  const [wanted, other] = [setOf("iptables", "ipv4"), setOf("iptables", "ipv4", { fullyRandom: false })];
  const lines = restoreText(wanted, other).split("\n");
  expect(lines.filter((line) => !line.startsWith("-A FLANNEL-POSTRTG "))).toEqual([
    "*nat",
    ":FLANNEL-POSTRTG - [0:0]",
    "COMMIT",
    "",
  ]);
});

test("chains of iptables are emptied and removed with their jumps", () => {
  expect(iptablesLines(undefined, setOf("iptables", "ipv4"))).toEqual([
    '-t nat -D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
    "-t nat -F FLANNEL-POSTRTG",
    "-t nat -X FLANNEL-POSTRTG",
    '-t filter -D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
    "-t filter -F FLANNEL-FWD",
    "-t filter -X FLANNEL-FWD",
  ]);
});

test("rules tell whose they are", () => {
  const { masquerade } = setOf("nftables", "ipv4").chains;
  const own = (...networks: string[]) => speakOf(masquerade?.rules ?? [], networks as unknown as OwnNetworks);
  expect([own("10.5.0.0/16"), own("10.6.0.0/16"), own("10.6.0.0/16", "10.5.0.0/16"), own("fd00::/16")]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  expect(suffixOf("10.5.0.0/16" as Prefix)).not.toBe(suffixOf("10.6.0.0/16" as Prefix));
  expect(`FLANNEL-POSTRTG${suffixOf("10.5.0.0/16" as Prefix)}`.length).toBeLessThanOrEqual(28); // XT_EXTENSION_MAXNAMELEN
});
