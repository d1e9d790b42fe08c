import { describe, expect, test } from "bun:test";
import type { Address } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";
import type { RouteMessage } from "../netlink/route.ts";
import type { HostView } from "./host.ts";
import { chooseInterface, type InterfaceWishes } from "./interface.ts";

const host = {
  links: [
    { index: 1, name: "lo", flags: 0x8, mtu: 65536 },
    { index: 2, name: "eth0", flags: 0, mtu: 1500 },
    { index: 3, name: "eth1", flags: 0, mtu: 9000 },
    { index: 4, name: "empty0", flags: 0, mtu: 1500 },
  ],
  addresses: [
    address(1, "127.0.0.1/8", 254),
    address(2, "192.0.2.5/24"),
    address(2, "192.0.2.6/24"),
    address(2, "2001:db8::5/64"),
    address(2, "fe80::1/64", 253),
    address(3, "10.0.0.5/8"),
    address(3, "2001:db8:1::5/64"),
  ],
} as unknown as HostView;

function address(index: number, text: string, scope = 0) {
  return { index, address: text, scope, flags: 0x80 };
}

/** Default routes as `ip route` would list them, best metric first. */
const routes = (defaults: Partial<Record<Family, readonly number[]>>) => ({
  defaultRoutes: (family: Family) => (defaults[family] ?? []).map((oif) => ({ oif }) as RouteMessage),
  routeTo: (to: Address) => (to === "10.9.9.9" ? ({ oif: 3, prefsrc: "10.0.0.5" } as RouteMessage) : undefined),
});

function choose(
  wishes: Partial<InterfaceWishes>,
  families: object,
  defaults: Partial<Record<Family, readonly number[]>> = {},
) {
  const none = { iface: [], ifaceRegex: [], ifaceCanReach: undefined, publicIp: {} };
  const { link, address: own, publicIp } = chooseInterface({ ...none, ...wishes }, families, host, routes(defaults));
  return [link.name, own.ipv4, own.ipv6, publicIp.ipv4].filter((part) => part !== undefined).join(" ");
}

const V4 = { ipv4: true };
const V6 = { ipv6: true };
const BOTH = { ...V4, ...V6 };

describe("chooseInterface()", () => {
  const rows: readonly (readonly [string, () => string, string])[] = [
    ["a name", () => choose({ iface: ["eth1"] }, V4), "eth1 10.0.0.5 10.0.0.5"],
    ["an address, and keeps to it", () => choose({ iface: ["192.0.2.6"] }, V4), "eth0 192.0.2.6 192.0.2.6"],
    [
      "the first that exists of several",
      () => choose({ iface: ["eth7", "eth1", "eth0"] }, V4),
      "eth1 10.0.0.5 10.0.0.5",
    ],
    ["a pattern of addresses first", () => choose({ ifaceRegex: ["^10\\."] }, V4), "eth1 10.0.0.5 10.0.0.5"],
    ["then a pattern of names", () => choose({ ifaceRegex: ["^eth"] }, V4), "eth0 192.0.2.5 192.0.2.5"],
    ["Go's inline flags in a pattern", () => choose({ ifaceRegex: ["(?i)^ETH1$"] }, V4), "eth1 10.0.0.5 10.0.0.5"],
    [
      "--iface before --iface-regex",
      () => choose({ iface: ["eth1"], ifaceRegex: ["eth0"] }, V4),
      "eth1 10.0.0.5 10.0.0.5",
    ],
    ["the way to an address", () => choose({ ifaceCanReach: "10.9.9.9" as Address }, V4), "eth1 10.0.0.5 10.0.0.5"],
    ["the best default route", () => choose({}, V4, { ipv4: [3, 2] }), "eth1 10.0.0.5 10.0.0.5"],
    ["IPv6's own, without IPv4", () => choose({}, V6, { ipv4: [2], ipv6: [3] }), "eth1 2001:db8:1::5"],
    [
      "the one with default routes of both families",
      () => choose({}, BOTH, { ipv4: [3, 2], ipv6: [2] }),
      "eth0 192.0.2.5 2001:db8::5 192.0.2.5",
    ],
    [
      "--public-ip for the lease alone",
      () => choose({ iface: ["eth0"], publicIp: { ipv4: "203.0.113.9" as Address } }, V4),
      "eth0 192.0.2.5 203.0.113.9",
    ],
  ];
  for (const [name, act, expected] of rows) test(`takes ${name}`, () => expect(act()).toBe(expected));

  const faults: readonly (readonly [string, () => string, string])[] = [
    [
      "an unknown name",
      () => choose({ iface: ["eth9"] }, V4),
      '--iface: got "eth9", want one of eth0 (192.0.2.5, 192.0.2.6, 2001:db8::5), eth1 (10.0.0.5, 2001:db8:1::5), empty0',
    ],
    [
      "no default route",
      () => choose({}, V4),
      "external interface: missing, want a default route (ipv4), or --iface naming one of eth0",
    ],
    [
      "default routes on different interfaces",
      () => choose({}, BOTH, { ipv4: [2], ipv6: [3] }),
      "want one interface with a default route in each of ipv4 and ipv6",
    ],
    [
      "an interface without an address",
      () => choose({ iface: ["empty0"] }, V4),
      "external interface: got empty0 (--iface=empty0), which has none, want an interface with a global ipv4 address",
    ],
    [
      "an address out of reach",
      () => choose({ ifaceCanReach: "10.1.1.1" as Address }, V4),
      "--iface-can-reach: got 10.1.1.1, want an address that this host has a route to",
    ],
  ];
  for (const [name, act, expected] of faults)
    test(`names what is wrong with ${name}`, () => expect(act).toThrow(expected));
});
