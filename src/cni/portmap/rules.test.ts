import { describe, expect, test } from "bun:test";
import type { Prefix } from "../../ip/prefix.ts";
import { argumentsOf, quoteArgument } from "../iptables.ts";
import { knowsKeys, type PortMapping, readPortmapConf } from "./conf.ts";
import { containerChain, entryNetwork, entryTarget, rulesFor } from "./rules.ts";

const OWNER = { name: "cbr0", containerId: "abc-def" };

function confOf(raw: Record<string, unknown>, mappings: readonly unknown[] = []) {
  const all = { ...raw, runtimeConfig: { portMappings: mappings } };
  return readPortmapConf({ cniVersion: "1.0.0", name: "cbr0", type: "portmap", prevResult: undefined, raw: all });
}

const tcp = (hostPort: number): Partial<PortMapping> => ({ hostPort, containerPort: 80, protocol: "tcp" });
const entries = (mappings: readonly unknown[], container = "10.5.1.7/24", raw = {}, owner = OWNER) =>
  rulesFor(owner, confOf(raw, mappings), container as Prefix)
    .rules.filter(({ chain }) => chain === "CNI-HOSTPORT-DNAT")
    .map(({ text }) => text);

// As the reference plugin 1.1.1 named it.
test("a container's chain is named by its network and id", () => {
  expect(containerChain(OWNER)).toBe("CNI-DN-9de58a830226bb388b9f3");
});

describe("entries", () => {
  test("15 ports each, by protocol, with the ports of the other family too", () => {
    const ports = Array.from({ length: 16 }, (_, i) => tcp(i + 1));
    const found = entries([{ ...tcp(9), protocol: "udp", hostIP: "::" }, ...ports, { ...tcp(5), protocol: "sctp" }]);
    expect(found.map((text) => [argumentsOf(text)[1], / --dports (\S+)/.exec(text)?.[1]])).toEqual([
      ["sctp", "5"],
      ["tcp", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15"],
      ["tcp", "16"],
      ["udp", "9"],
    ]);
  });

  test("carry the conditions of their family", () => {
    const raw = { conditionsV4: ["!", "-s", "192.0.2.0/24"], conditionsV6: ["-m", "comment", "--comment", "a b"] };
    expect(entries([tcp(1)], "10.5.1.7/24", raw)[0]).toContain(" --dports 1 ! -s 192.0.2.0/24 -j CNI-DN-");
    expect(entries([tcp(1)], "fd00::7/64", raw)[0]).toContain(` --dports 1 -m comment --comment "a b" -j CNI-DN-`);
  });

  test("say whose they are, also where the comment is cut", () => {
    for (const containerId of ["abc-def", "a".repeat(300)]) {
      const owner = { name: "cbr0", containerId };
      const text = entries([tcp(1)], "10.5.1.7/24", {}, owner)[0] ?? "";
      expect(entryNetwork(text)).toBe("cbr0");
      expect(entryTarget(text)).toBe(containerChain(owner));
      expect(argumentsOf(text)[5]?.length).toBeLessThanOrEqual(255);
    }
    expect(entryNetwork("-p tcp -j CNI-DN-1")).toBeUndefined();
    expect(entryTarget("-p tcp -j ACCEPT")).toBeUndefined();
  });
});

test("arguments are read back as they were", () => {
  const words = ["-m", "comment", "--comment", `dnat name: "cbr0" id: "it's"`, "a\\b", "!", "10.0.0.0/8"];
  expect(argumentsOf(words.map(quoteArgument).join(" "))).toEqual(words);
});

const keys: [boolean, Record<string, unknown>][] = [
  [true, { type: "portmap", snat: true, markMasqBit: 3, capabilities: {}, runtimeConfig: {}, prevResult: {} }],
  [true, { SNAT: true, backend: "iptables", "cni.dev/valid-attachments": [] }],
  [false, { backend: "nftables" }],
  [false, { masqAll: true }],
];
test.each(keys)("knows the keys: %p for %j", (known, raw) => expect(knowsKeys(raw)).toBe(known));
