import { describe, expect, test } from "bun:test";
import type { Prefix } from "../ip/prefix.ts";
import { type NftListing, nftLines, readNftTables } from "./nftables.ts";
import { type OwnNetworks, suffixOf } from "./rule.ts";
import { ruleSets } from "./rules.ts";

const N = "10.5.0.0/16" as Prefix;
const OWN = suffixOf(N);
const ALL = { masquerade: true, fullyRandom: true, forward: true };
const [WANTED] = ruleSets("nftables", { ipv4: N }, { ipv4: "10.5.7.0/24" as Prefix }, ALL);

const prefix = (addr: string, len: number) => ({ prefix: { addr, len } });
const address = (field: string, right: unknown, op = "==") => ({
  match: { op, left: { payload: { protocol: "ip", field } }, right },
});
const network = (second = 5) => prefix(`10.${second}.0.0`, 16);
const chain = (name: string, type: string, hook: string, prio: number, policy = "accept") => ({
  chain: { family: "ip", table: "flannel-ipv4", name, handle: 1, type, hook, prio, policy },
});
const rule = (of: string, ...expr: unknown[]) => ({ rule: { family: "ip", chain: of, handle: 2, expr } });

/** `nft -j list table ip flannel-ipv4` of what nft 1.0.6 made of the lines in rules.test.ts. */
function listing(second = 5): NftListing {
  return {
    nftables: [
      chain("postrtg", "nat", "postrouting", 100),
      chain("forward", "filter", "forward", 0),
      rule(
        "postrtg",
        { match: { op: "==", left: { "&": [{ meta: { key: "mark" } }, 16384] }, right: 16384 } },
        { return: null },
      ),
      rule("postrtg", address("saddr", network(second)), address("daddr", network(second)), { return: null }),
      rule("postrtg", address("saddr", network(second), "!="), address("daddr", prefix(`10.${second}.7.0`, 24)), {
        return: null,
      }),
      rule("postrtg", address("saddr", network(second)), address("daddr", prefix("224.0.0.0", 4), "!="), {
        masquerade: { flags: "fully-random" },
      }),
      rule("postrtg", address("saddr", network(second), "!="), address("daddr", network(second)), {
        masquerade: { flags: ["fully-random"] },
      }),
      rule("forward", address("saddr", network(second)), { accept: null }),
      rule("forward", address("daddr", network(second)), { counter: { packets: 1, bytes: 84 } }, { accept: null }),
    ],
  };
}

function read(tables: Readonly<Record<string, NftListing>>, networks: OwnNetworks = [N]) {
  return readNftTables("ipv4", networks, new Map(Object.entries(tables)));
}

const BASE = "flannel-ipv4";

test("what nft lists of our rules is read as the same", () => {
  expect(read({ [BASE]: listing() })).toEqual({ family: "ipv4", set: WANTED, suffix: "" });
});

test("no table of ours is nothing", () => {
  expect(read({})).toEqual({ family: "ipv4", set: undefined, suffix: "" });
});

const edit = (change: (entries: unknown[]) => void) => {
  const entries = [...listing().nftables] as unknown[];
  change(entries);
  return { nftables: entries } as NftListing;
};

describe("a table that differs is replaced", () => {
  test.each<[string, NftListing]>([
    ["a rule is gone", edit((entries) => entries.splice(4, 1))],
    ["rules in another order", edit((entries) => entries.splice(3, 2, entries[4], entries[3]))],
    ["a rule more", edit((entries) => entries.push(rule("forward", { drop: null })))],
    ["a chain is gone", edit((entries) => entries.splice(1, 1))],
    ["another policy", edit((entries) => entries.splice(1, 1, chain("forward", "filter", "forward", 0, "drop")))],
    [
      "another priority, as upstream could have it",
      edit((entries) => entries.splice(0, 1, chain("postrtg", "nat", "postrouting", 99))),
    ],
    [
      "the mark compared as a whole, as upstream has it",
      edit((entries) =>
        entries.splice(
          2,
          1,
          rule("postrtg", { match: { op: "==", left: { meta: { key: "mark" } }, right: 16384 } }, { return: null }),
        ),
      ),
    ],
    [
      "masquerade with ports in order",
      edit((entries) =>
        entries.splice(
          5,
          1,
          rule("postrtg", address("saddr", network()), address("daddr", prefix("224.0.0.0", 4), "!="), {
            masquerade: null,
          }),
        ),
      ),
    ],
    ["a chain more", edit((entries) => entries.push(chain("extra", "filter", "input", 0)))],
    ["nothing in it", { nftables: [] }],
  ])("%s", (_title, table) => {
    const { set, suffix } = read({ [BASE]: table });
    expect(set).not.toEqual(WANTED);
    expect(suffix).toBe("");
    expect(nftLines(WANTED, set).slice(0, 2)).toEqual(["delete table ip flannel-ipv4", "add table ip flannel-ipv4"]);
  });
});

test("another flannel's table stays, and ours has a name of its own", () => {
  expect(read({ [BASE]: listing(9) })).toEqual({ family: "ipv4", set: undefined, suffix: OWN });
  const both = read({ [BASE]: listing(9), [BASE + OWN]: listing() });
  expect(both).toEqual({ family: "ipv4", set: WANTED, suffix: OWN });
});

test("the network of the run before is ours too, and so is a table under its name", () => {
  const before = "10.9.0.0/16" as Prefix;
  const { set, suffix } = read({ [BASE]: listing(9), [BASE + suffixOf(before)]: listing(9) }, [N, before]);
  expect(suffix).toBe("");
  expect(nftLines(undefined, set)).toEqual([
    `delete table ip flannel-ipv4${suffixOf(before)}`,
    "delete table ip flannel-ipv4",
  ]);
});
