import { describe, expect, test } from "bun:test";
import type { Family } from "../ip/family.ts";
import { ConfigError } from "./fault.ts";
import { IPV4_NEEDED, parseNetworkConfig } from "./net_conf.ts";
import type { SubnetRange } from "./network.ts";

const VXLAN = { Type: "vxlan" };

function parse(config: unknown) {
  return parseNetworkConfig(typeof config === "string" ? config : JSON.stringify(config), "net-conf.json");
}

function faults(config: unknown): string[] {
  try {
    parse(config);
  } catch (error) {
    if (error instanceof ConfigError)
      return error.message.split("\n").map((line) => line.replace(/^net-conf.json: /, ""));
    throw error;
  }
  throw new Error("expected a ConfigError");
}

test("the text of upstream's manifest", () => {
  const text =
    '{\n  "Network": "10.244.0.0/16",\n  "EnableNFTables": false,\n  "Backend": {\n    "Type": "vxlan"\n  }\n}\n';
  expect<unknown>(parse(text)).toEqual({
    ranges: {
      ipv4: { network: "10.244.0.0/16", subnetLength: 24, first: "10.244.1.0/24", last: "10.244.255.0/24" },
    },
    enableNftables: false,
    backend: { type: "vxlan", raw: { Type: "vxlan" } },
    warnings: [],
  });
});

interface FamilyRow {
  readonly family: Family;
  readonly range: (rest: object) => SubnetRange | undefined;
  readonly names: Readonly<Record<"network" | "length" | "min" | "max", string>>;
  readonly lengths: [network: string, subnetLength: number, first: string, last: string][];
  readonly chosen: { readonly length: number; readonly min: string; readonly max: string };
}

describe.each<FamilyRow>([
  {
    family: "ipv4",
    range: (rest: object) => parse({ Network: "10.5.0.0/16", Backend: VXLAN, ...rest }).ranges.ipv4,
    names: { network: "Network", length: "SubnetLen", min: "SubnetMin", max: "SubnetMax" },
    lengths: [
      ["10.0.0.0/8", 24, "10.0.1.0/24", "10.255.255.0/24"],
      ["10.5.0.0/22", 24, "10.5.1.0/24", "10.5.3.0/24"],
      ["10.5.0.0/23", 25, "10.5.0.128/25", "10.5.1.128/25"],
      ["10.5.0.0/28", 30, "10.5.0.4/30", "10.5.0.12/30"],
    ],
    chosen: { length: 26, min: "10.5.0.64", max: "10.5.9.192" },
  },
  {
    family: "ipv6",
    range: (rest: object) =>
      parse({ EnableIPv4: false, EnableIPv6: true, IPv6Network: "fd00::/48", Backend: VXLAN, ...rest }).ranges.ipv6,
    names: { network: "IPv6Network", length: "IPv6SubnetLen", min: "IPv6SubnetMin", max: "IPv6SubnetMax" },
    lengths: [
      ["fd00::/8", 64, "fd00:0:0:1::/64", "fdff:ffff:ffff:ffff::/64"],
      ["fd00::/62", 64, "fd00:0:0:1::/64", "fd00:0:0:3::/64"],
      ["fd00::/63", 65, "fd00::8000:0:0:0/65", "fd00:0:0:1:8000::/65"],
      ["fd00::/124", 126, "fd00::4/126", "fd00::c/126"],
    ],
    chosen: { length: 80, min: "fd00:0:0:1::", max: "fd00:0:0:9:1::" },
  },
])("$family", ({ range, names, lengths, chosen }) => {
  test.each(lengths)("%s is cut into /%d, from the second to the last", (network, subnetLength, first, last) => {
    expect<unknown>(range({ [names.network]: network })).toEqual({ network, subnetLength, first, last });
  });

  test("length and bounds as given", () => {
    const { length, min, max } = chosen;
    const found = range({ [names.length]: length, [names.min]: min, [names.max]: max });
    expect<unknown>(found).toMatchObject({ subnetLength: length, first: `${min}/${length}`, last: `${max}/${length}` });
  });

  test("zero, an empty text and null are the defaults, as upstream writes them", () => {
    const usual = range({});
    expect(range({ [names.length]: 0, [names.min]: "", [names.max]: null })).toEqual(usual);
    expect(range({ [names.min]: "0.0.0.0", [names.max]: "::" })).toEqual(usual);
  });
});

test("both families", () => {
  const { ranges } = parse({ Network: "10.5.0.0/16", EnableIPv6: true, IPv6Network: "fd00::/48", Backend: VXLAN });
  expect(Object.keys(ranges)).toEqual(["ipv4", "ipv6"]);
});

test("keys match in any letter case, the last of two wins, and the type of a backend is lower case", () => {
  const config = parse('{"network":"10.5.0.0/16","SUBNETLEN":25,"subnetlen":26,"backend":{"tYPE":"VXLAN","VNI":7}}');
  expect(config.ranges.ipv4?.subnetLength).toBe(26);
  expect(config.backend).toEqual({ type: "vxlan", raw: { tYPE: "VXLAN", VNI: 7 } });
  expect(config.warnings).toEqual([]);
});

describe("warns of", () => {
  test.each([
    [
      "no backend, which is udp as upstream has it",
      { Network: "10.5.0.0/16" },
      'Backend: not set, so it is udp as upstream has it; add "Backend": {"Type": "vxlan"} for vxlan',
    ],
    [
      "a key misspelt",
      { Network: "10.5.0.0/16", Backend: VXLAN, SubnetLength: 26 },
      'got the unknown key "SubnetLength"',
    ],
    [
      "host bits",
      { Network: "10.5.7.1/16", Backend: VXLAN },
      "Network: 10.5.7.1/16 has host bits set; it is taken as 10.5.0.0/16",
    ],
    [
      "a network of a family that is off",
      { Network: "10.5.0.0/16", IPv6Network: "fd00::/48", Backend: VXLAN },
      "IPv6Network: no effect: EnableIPv6 is not true",
    ],
  ])("%s", (_, config, warning) => {
    const { warnings } = parse(config);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.replace("net-conf.json: ", "")).toStartWith(warning.replace("got ", ""));
  });

  test("nothing where a key is just unknown", () => {
    expect(parse({ Network: "10.5.0.0/16", Backend: VXLAN, Comment: "x", Maintainer: 1 }).warnings).toEqual([]);
  });
});

test("without Backend the type is udp", () => {
  expect(parse({ Network: "10.5.0.0/16" }).backend).toEqual({ type: "udp", raw: {} });
  expect(parse({ Network: "10.5.0.0/16", Backend: null }).backend.type).toBe("udp");
});

describe("refuses", () => {
  const good = { Network: "10.5.0.0/16", Backend: VXLAN };
  const ipv6 = { EnableIPv4: false, EnableIPv6: true, IPv6Network: "fd00::/48", Backend: VXLAN };
  test.each<[unknown, string]>([
    ["[]", "got [], want a JSON object"],
    [{ Backend: VXLAN }, 'Network: missing, want an IPv4 network such as "10.244.0.0/16", or EnableIPv4 false'],
    [
      { ...good, Network: "10.5.0.0" },
      'Network: got "10.5.0.0", want an IPv4 network such as "10.244.0.0/16", or EnableIPv4 false',
    ],
    [
      { ...good, Network: "fd00::/48" },
      'Network: got "fd00::/48", want an IPv4 network such as "10.244.0.0/16", or EnableIPv4 false',
    ],
    [{ ...good, Network: 10 }, "Network: got 10, want text in double quotes"],
    [{ ...good, Network: "10.5.0.0/29" }, "Network: got 10.5.0.0/29, want a network of /28 or larger"],
    [{ ...good, SubnetLen: 17 }, "SubnetLen: got 17, want 18 to 30, since 10.5.0.0/16 must hold at least four subnets"],
    [{ ...good, SubnetLen: 31 }, "SubnetLen: got 31, want 18 to 30, since 10.5.0.0/16 must hold at least four subnets"],
    [{ ...good, SubnetLen: "24" }, 'SubnetLen: got "24", want a whole number from 0 to 32'],
    [{ ...good, SubnetLen: 24.5 }, "SubnetLen: got 24.5, want a whole number from 0 to 32"],
    [{ ...good, SubnetMin: "10.6.0.0" }, 'SubnetMin: got "10.6.0.0", want the first address of a /24 in 10.5.0.0/16'],
    [{ ...good, SubnetMax: "10.5.9.1" }, 'SubnetMax: got "10.5.9.1", want the first address of a /24 in 10.5.0.0/16'],
    [{ ...good, SubnetMax: "fd00::" }, 'SubnetMax: got "fd00::", want the first address of a /24 in 10.5.0.0/16'],
    [
      { ...good, SubnetMin: "10.5.9.0", SubnetMax: "10.5.8.0" },
      "SubnetMax: got 10.5.8.0, want an address not before SubnetMin 10.5.9.0",
    ],
    [{ ...good, EnableIPv6: "true" }, 'EnableIPv6: got "true", want true or false'],
    [{ ...good, EnableIPv4: false }, "EnableIPv4: got false, want true, or EnableIPv6 true"],
    [
      { ...ipv6, IPv6Network: undefined },
      'IPv6Network: missing, want an IPv6 network such as "fd00:10:244::/48", or EnableIPv6 false',
    ],
    [{ ...ipv6, IPv6Network: "fd00::/125" }, "IPv6Network: got fd00::/125, want a network of /124 or larger"],
    [
      { ...ipv6, IPv6SubnetLen: 127 },
      "IPv6SubnetLen: got 127, want 50 to 126, since fd00::/48 must hold at least four subnets",
    ],
    [
      { ...ipv6, IPv6SubnetMin: "fd00::1" },
      'IPv6SubnetMin: got "fd00::1", want the first address of a /64 in fd00::/48',
    ],
    [{ ...good, Backend: "vxlan" }, 'Backend: got "vxlan", want a JSON object'],
    [{ ...good, Backend: {} }, 'Backend.Type: missing, want a type such as "vxlan"'],
    [{ ...good, Backend: { Type: "" } }, 'Backend.Type: got "", want a type such as "vxlan"'],
    [{ ...good, Backend: { Type: 1 } }, "Backend.Type: got 1, want text in double quotes"],
  ])("%j", (config, fault) => {
    expect(faults(config)).toEqual([fault]);
  });

  test("all faults at once, and the key that was meant", () => {
    expect(faults({ Netwrok: "10.5.0.0/16", SubnetLen: true, Backend: [] })).toEqual([
      "SubnetLen: got true, want a whole number from 0 to 32",
      "Backend: got [], want a JSON object",
      'Network: missing, want an IPv4 network such as "10.244.0.0/16", or EnableIPv4 false',
      'got the unknown key "Netwrok", want "Network"',
    ]);
  });

  test("the source is named as it was given", () => {
    expect(() => parseNetworkConfig("{}", "/coreos.com/network/config")).toThrow("/coreos.com/network/config: Network");
  });
});

test("a network of IPv6 alone is refused where keys need an IPv4 subnet, beside the other faults", () => {
  const text = '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/48","Backend":{"Type":"vxlan"}}';
  expect(parseNetworkConfig(text, "c").ranges.ipv4).toBeUndefined();
  expect(() => parseNetworkConfig(text, "c", IPV4_NEEDED)).toThrow(`c: EnableIPv4: got false, want ${IPV4_NEEDED}`);
  const both = text.replace('"EnableIPv4":false', '"Network":"10.5.0.0/16"');
  expect(parseNetworkConfig(both, "c", IPV4_NEEDED).ranges.ipv4).toBeDefined();
});
