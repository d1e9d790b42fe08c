// Firewall rules on the real kernel, by nft and by both kinds of iptables: made, left alone, repaired, taken over, removed; and two flannels side by side.

import { afterEach, describe, expect, test } from "bun:test";
import type { OwnNetworks, RuleTool } from "../../src/firewall/rule.ts";
import { type RuleOptions, ruleSets } from "../../src/firewall/rules.ts";
import { familiesOf, type PerFamily } from "../../src/ip/family.ts";
import type { Prefix } from "../../src/ip/prefix.ts";
import { type RunCommand, runCommand } from "../../src/kernel/command.ts";
import { Iptables } from "../../src/kernel/iptables.ts";
import { Nftables } from "../../src/kernel/nftables.ts";
import { type ReconcileEvent, Reconciler } from "../../src/kernel/reconciler.ts";
import { RuleDriver } from "../../src/kernel/rule_driver.ts";
import { keyOf } from "../../src/state/object.ts";
import { printOperation } from "../../src/state/print.ts";
import { becomes } from "../e2e/becomes.ts";
import { Namespace } from "./linux_world.ts";

const ALL: RuleOptions = { masquerade: true, fullyRandom: true, forward: true };
const VARIANTS: readonly { readonly name: string; readonly tool: RuleTool; readonly legacy: boolean }[] = [
  { name: "nftables", tool: "nftables", legacy: false },
  { name: "iptables over nftables", tool: "iptables", legacy: false },
  { name: "legacy iptables", tool: "iptables", legacy: true },
];
type Variant = (typeof VARIANTS)[number];

const owned: Disposable[] = [];
afterEach(() => {
  for (const each of owned.splice(0).reverse()) each[Symbol.dispose]();
});
function own<T extends Disposable>(value: T): T {
  owned.push(value);
  return value;
}

/** "iptables-save" as "iptables-legacy-save"; the nft kind is named too, whatever is the host's default. */
function namedKind(program: string, { legacy }: Pick<Variant, "legacy">): string {
  return program.replace(/\b(ip6?tables)(?!-(?:nft|legacy))/, `$1-${legacy ? "legacy" : "nft"}`);
}

class Flannel implements Disposable {
  readonly events: ReconcileEvent[] = [];
  /** Programs that were run to change something. */
  readonly writes: string[] = [];
  readonly reconciler: Reconciler;
  readonly #driver: RuleDriver;
  readonly #variant: Variant;
  readonly #networks: PerFamily<Prefix>;
  readonly #stop = new AbortController();

  constructor(namespace: Namespace, variant: Variant, second = 5) {
    this.#variant = variant;
    this.#networks = { ipv4: `10.${second}.0.0/16` as Prefix, ipv6: `fd00:${second}::/48` as Prefix };
    const run: RunCommand = async ([program = "", ...args], input) => {
      if (/restore|nft -f/.test([program, ...args].join(" "))) this.writes.push(input ?? "");
      return await runCommand(["ip", "netns", "exec", namespace.name, namedKind(program, variant), ...args], input);
    };
    const networks: PerFamily<OwnNetworks> = {
      ipv4: [this.#networks.ipv4 as Prefix],
      ipv6: [this.#networks.ipv6 as Prefix],
    };
    const access =
      variant.tool === "nftables"
        ? new Nftables({ networks, namespace: namespace.path, run })
        : new Iptables({ networks, namespace: namespace.path, run });
    this.#driver = new RuleDriver(access, {
      firstLook: "now",
      ...(variant.tool === "iptables" && { periodMs: 50 }),
    });
    this.reconciler = new Reconciler([this.#driver], {
      report: (event) => this.events.push(event),
      patience: { firstMs: 50, maxMs: 200, repairs: 20, windowMs: 60_000, now: () => performance.now() },
    });
    void this.reconciler.run(this.#stop.signal);
  }

  /** Resolves when rules for `subnets` stand; all are removed without. */
  async want(options: Partial<RuleOptions> | undefined, third = 7): Promise<void> {
    const second = this.#networks.ipv4?.split(".")[1];
    const subnets = { ipv4: `10.${second}.${third}.0/24` as Prefix, ipv6: `fd00:${second}:0:${third}::/64` as Prefix };
    const sets = options ? ruleSets(this.#variant.tool, this.#networks, subnets, { ...ALL, ...options }) : [];
    this.reconciler.desire(new Map(sets.map((set) => [keyOf(set), set])), "all", true);
    await this.reconciler.settled();
    expect(this.events.filter(({ kind }) => kind === "failed")).toEqual([]);
  }

  suffixes(): string[] {
    return familiesOf(this.#networks).map((family) => this.#driver.suffix(family));
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#driver[Symbol.dispose]();
  }
}

/** All rules, as the host's own programs list them, without counters and dates. */
function listing(namespace: Namespace, { tool, legacy }: Variant): string[] {
  const commands =
    tool === "nftables"
      ? "nft list ruleset"
      : `${namedKind("iptables-save", { legacy })}; ${namedKind("ip6tables-save", { legacy })}`;
  const lines = namespace.run(`${commands} 2>/dev/null`).split("\n");
  return lines.filter((line) => line !== "" && !line.startsWith("#")).map((line) => line.replace(/\[\d+:\d+\]/, ""));
}

const about = (lines: readonly string[], second: number) =>
  lines.filter((line) => line.includes(`10.${second}.`) || line.includes(`fd00:${second}:`)).sort();

describe.each(VARIANTS)("$name", (variant) => {
  const run = (namespace: Namespace, command: string) =>
    namespace.run(command.replace(/\bip6?tables(-\w+)?/g, (program) => namedKind(program, variant)));
  const flush =
    variant.tool === "nftables"
      ? "nft flush ruleset"
      : "iptables -t nat -F; iptables -F; iptables -X; ip6tables -F FLANNEL-FWD; ip6tables -t nat -F POSTROUTING";

  test("rules are made once, left alone by the next flannel, repaired, changed, and removed", async () => {
    const namespace = own(new Namespace());
    const before = listing(namespace, variant);
    const first = own(new Flannel(namespace, variant));
    await first.want({});
    const rules = listing(namespace, variant);
    expect(about(rules, 5)).toHaveLength(2 * 6);
    expect(first.writes).toHaveLength(2);

    const second = own(new Flannel(namespace, variant));
    await second.want({});
    expect(second.writes).toEqual([]);
    second[Symbol.dispose]();

    run(namespace, flush);
    await becomes(() => listing(namespace, variant).sort(), rules.toSorted());
    await becomes(() => first.events.some(({ kind }) => kind === "repaired"), true);

    await first.want({ masquerade: false }, 9);
    expect(about(listing(namespace, variant), 5)).toHaveLength(2 * 2);
    await first.want({}, 9);
    expect(listing(namespace, variant).join("\n")).toContain("10.5.9.0/24");
    await first.want(undefined);
    const left = listing(namespace, variant).filter((line) => /flannel/i.test(line));
    expect([left, about(listing(namespace, variant), 5)]).toEqual([[], []]);
    expect(before.filter((line) => /flannel/i.test(line))).toEqual([]);
  });

  test("two flannels on one host never touch each other's rules", async () => {
    const namespace = own(new Namespace());
    const [a, b] = [own(new Flannel(namespace, variant, 5)), own(new Flannel(namespace, variant, 6))];
    await a.want({});
    await b.want({});
    expect(a.suffixes()).toEqual(["", ""]);
    expect(b.suffixes().every((suffix) => /^-[0-9a-f]{8}$/.test(suffix))).toBe(true);
    const [ofA, ofB] = [about(listing(namespace, variant), 5), about(listing(namespace, variant), 6)];
    expect([ofA.length, ofB.length]).toEqual([12, 12]);
    await a.want({}, 9);
    expect(about(listing(namespace, variant), 6)).toEqual(ofB);
    await a.want(undefined);
    expect([about(listing(namespace, variant), 5), about(listing(namespace, variant), 6)]).toEqual([[], ofB]);
    await a.want({});
    await b.want(undefined);
    expect([about(listing(namespace, variant), 5), about(listing(namespace, variant), 6)]).toEqual([ofA, []]);
  });

  test("two that start at once both get their rules in the end", async () => {
    const namespace = own(new Namespace());
    const both = [own(new Flannel(namespace, variant, 5)), own(new Flannel(namespace, variant, 6))];
    await Promise.all(both.map((flannel) => flannel.want({})));
    const count = () => [5, 6].map((second) => about(listing(namespace, variant), second).length);
    await becomes(count, [12, 12]);
  });
});

const MASQ = '-m comment --comment "flanneld masq"';
const FORWARD = '-m comment --comment "flanneld forward"';
const N = "10.5.0.0/16";
/** Rules that are nobody's business but their owner's. */
const STRANGERS = [
  "iptables -t nat -A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE",
  "iptables -t nat -A POSTROUTING -s 10.5.3.3/32 -j ACCEPT",
  "iptables -P FORWARD DROP",
  "iptables -N DOCKER-USER",
  "iptables -A FORWARD -j DOCKER-USER",
];

describe.each(VARIANTS.filter(({ tool }) => tool === "iptables"))("$name takes over", (variant) => {
  test.each<[string, readonly string[]]>([
    [
      "v0.7.1's bare rules",
      [
        `iptables -t nat -A POSTROUTING -s ${N} -d ${N} -j RETURN`,
        `iptables -t nat -A POSTROUTING -s ${N} ! -d 224.0.0.0/4 -j MASQUERADE`,
        `iptables -t nat -A POSTROUTING ! -s ${N} -d ${N} -j MASQUERADE`,
      ],
    ],
    [
      "upstream's chains",
      [
        "iptables -t nat -N FLANNEL-POSTRTG",
        `iptables -t nat -A POSTROUTING ${MASQ} -j FLANNEL-POSTRTG`,
        `iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${MASQ} -j RETURN`,
        `iptables -t nat -A FLANNEL-POSTRTG -s 10.5.7.0/24 -d ${N} ${MASQ} -j RETURN`,
        `iptables -t nat -A FLANNEL-POSTRTG -s ${N} -d 10.5.7.0/24 ${MASQ} -j RETURN`,
        `iptables -t nat -A FLANNEL-POSTRTG ! -s ${N} -d 10.5.7.0/24 ${MASQ} -j RETURN`,
        `iptables -t nat -A FLANNEL-POSTRTG -s ${N} ! -d 224.0.0.0/4 ${MASQ} -j MASQUERADE --random-fully`,
        `iptables -t nat -A FLANNEL-POSTRTG ! -s ${N} -d ${N} ${MASQ} -j MASQUERADE --random-fully`,
        "iptables -N FLANNEL-FWD",
        `iptables -A FORWARD ${FORWARD} -j FLANNEL-FWD`,
        `iptables -A FLANNEL-FWD -s ${N} ${FORWARD} -j ACCEPT`,
        `iptables -A FLANNEL-FWD -d ${N} ${FORWARD} -j ACCEPT`,
      ],
    ],
    [
      "bare rules with comments",
      [
        `iptables -t nat -A POSTROUTING -s ${N} -d ${N} ${MASQ} -j RETURN`,
        `iptables -A FORWARD -d ${N} ${FORWARD} -j ACCEPT`,
      ],
    ],
  ])("%s", async (_title, forms) => {
    const fresh = own(new Namespace());
    const used = own(new Namespace());
    const run = (namespace: Namespace, commands: readonly string[]) =>
      namespace.run(commands.join("\n").replace(/\bip6?tables\b/g, (program) => namedKind(program, variant)));
    for (const namespace of [fresh, used]) run(namespace, STRANGERS);
    run(used, forms);
    for (const namespace of [fresh, used]) await own(new Flannel(namespace, variant)).want({});
    expect(listing(used, variant).sort()).toEqual(listing(fresh, variant).sort());
  });
});

test.each(VARIANTS)("$name: the printed commands do what the driver does", async (variant) => {
  const [byDriver, byHand] = [own(new Namespace()), own(new Namespace())];
  await own(new Flannel(byDriver, variant)).want({});
  const networks = { ipv4: N as Prefix, ipv6: "fd00:5::/48" as Prefix };
  const subnets = { ipv4: "10.5.7.0/24" as Prefix, ipv6: "fd00:5:0:7::/64" as Prefix };
  const commands = ruleSets(variant.tool, networks, subnets, ALL).map((object) =>
    printOperation({ verb: "add", object }),
  );
  byHand.run(commands.join("\n").replace(/\bip6?tables\b/g, (program) => namedKind(program, variant)));
  expect(listing(byHand, variant).sort()).toEqual(listing(byDriver, variant).sort());
});

test("nftables: upstream's table is taken over, with its mark compared as a whole and its order of chains", async () => {
  const [fresh, used] = [own(new Namespace()), own(new Namespace())];
  const table = "ip flannel-ipv4";
  const rules = [
    `add table ${table}`,
    `add table inet somebody`,
    `add chain ${table} forward { type filter hook forward priority 0; policy accept; }`,
    `add rule ${table} forward ip saddr ${N} accept`,
    `add rule ${table} forward ip daddr ${N} accept`,
    `add chain ${table} postrtg { type nat hook postrouting priority 100; policy accept; }`,
    `add rule ${table} postrtg meta mark 0x4000 return`,
    `add rule ${table} postrtg ip saddr 10.5.7.0/24 ip daddr ${N} return`,
    `add rule ${table} postrtg ip saddr ${N} ip daddr 10.5.7.0/24 return`,
    `add rule ${table} postrtg ip saddr != 10.5.7.0/24 ip daddr ${N} return`,
    `add rule ${table} postrtg ip saddr ${N} ip daddr != 224.0.0.0/4 masquerade fully-random`,
    `add rule ${table} postrtg ip saddr != ${N} ip daddr ${N} masquerade fully-random`,
  ];
  used.run(rules.map((rule) => `nft '${rule}'`).join("\n"));
  fresh.run("nft add table inet somebody");
  const variant = { name: "", tool: "nftables", legacy: false } as const;
  for (const namespace of [fresh, used]) await own(new Flannel(namespace, variant)).want({});
  expect(listing(used, variant).sort()).toEqual(listing(fresh, variant).sort());
});
