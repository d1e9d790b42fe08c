import { describe, expect, test } from "bun:test";
import { FACTS, lease, OWN } from "../../test/kernel/contract.ts";
import { ConfigError } from "../config/fault.ts";
import type { Lease } from "../lease/lease.ts";
import { printOperation } from "../state/print.ts";
import type { HostFacts, HostRoute } from "./backend.ts";
import { ipip } from "./ipip.ts";

const ENCAPSULATED = [
  "ip nexthop replace id 7 via 192.168.77.2 dev flannel.ipip onlink proto 70",
  "ip route replace 10.5.2.0/24 nhid 7 proto 70",
];
const DIRECT = [
  "ip nexthop replace id 7 via 192.168.77.2 dev eth0 proto 70",
  "ip route replace 10.5.2.0/24 nhid 7 proto 70",
];

const peer = (changes: Partial<Lease> = {}) => lease(2, { backendType: "ipip", backendData: {}, ...changes });

function commands(of: Lease, directRouting = false, facts: HostFacts = FACTS): readonly string[] | string {
  const objects = ipip.peer({ directRouting }, {}, OWN, of, facts);
  if ("kind" in objects) return objects.reason;
  return objects.map((object) => printOperation({ verb: "add", object }, () => 7));
}

function node(facts: HostFacts): string[] {
  const objects = [...ipip.node({ directRouting: false }, {}, OWN, facts)];
  return objects.map((object) => printOperation({ verb: "add", object }));
}

describe("ipip.node()", () => {
  test("makes one device, from the interface's address to anywhere", () => {
    expect(node(FACTS)).toEqual([
      "ip link add flannel.ipip mtu 1480 type ipip mode ipip local 192.168.77.1 remote any nopmtudisc",
      "ip link set flannel.ipip up",
      "ip address replace 10.5.1.0/32 dev flannel.ipip",
    ]);
  });

  test("takes the outer header off the MTU of the interface", () => {
    const facts = { ...FACTS, external: { ...FACTS.external, mtu: 9000 } };
    expect(node(facts)[0]).toContain(" mtu 8980 ");
    expect(ipip.mtu({ directRouting: false }, facts, OWN.subnet)).toBe(8980);
  });
});

describe("ipip.peer()", () => {
  test("routes to the public IP, which need not be on the device's network", () => {
    expect(commands(peer())).toEqual(ENCAPSULATED);
    expect(commands(peer(), false, { ...FACTS, nexthopObjects: false })).toEqual([
      "ip route replace 10.5.2.0/24 via 192.168.77.2 dev flannel.ipip onlink proto 70",
    ]);
  });

  test("does not look at backend data, which such leases do not have", () => {
    expect(commands(peer({ backendData: { ipv4: { VtepMAC: "x" } } }))).toEqual(ENCAPSULATED);
  });

  const places: readonly (readonly [string, readonly HostRoute[], readonly string[]])[] = [
    ["on a directly connected network", [route("192.168.77.0/24")], DIRECT],
    ["behind a gateway", [route("192.168.77.0/24", "192.168.77.254")], ENCAPSULATED],
    [
      "behind a gateway by the more specific route",
      [route("192.168.77.0/24"), route("192.168.77.2/32", "192.168.77.254")],
      ENCAPSULATED,
    ],
    ["without a route of this interface", [], ENCAPSULATED],
  ];
  test.each(places)("with DirectRouting, a peer %s", (_, routes, expected) => {
    const facts = { ...FACTS, external: { ...FACTS.external, routes } };
    expect(commands(peer(), true, facts)).toEqual(expected);
    expect(commands(peer(), false, facts)).toEqual(ENCAPSULATED);
  });

  const { ipv6 } = lease(2).publicIp;
  const refusals: readonly (readonly [string, Partial<Lease>, string])[] = [
    ["another backend", { backendType: "vxlan" }, 'its BackendType is "vxlan", this node runs ipip'],
    ["IPv6 alone", { publicIp: { ...(ipv6 && { ipv6 }) } }, "it has no IPv4 subnet with a public IP"],
  ];
  test.each(refusals)("refuses a peer with %s", (_, changes, reason) => expect(commands(peer(changes))).toBe(reason));
});

test("ipip: a lease says nothing but its public IP", () => {
  expect(ipip.leaseData({ directRouting: false }, {}, { ipv4: true })).toEqual({});
});

test("ipip.config() reads DirectRouting and names what is wrong", () => {
  expect(ipip.config({ Type: "ipip" })).toEqual({ directRouting: false });
  expect(ipip.config({ type: "ipip", directrouting: true })).toEqual({ directRouting: true });
  const wrong = () => ipip.config({ Type: "ipip", DirectRouting: "yes" }, "net-conf.json: Backend");
  expect(wrong).toThrow(ConfigError);
  expect(wrong).toThrow("net-conf.json: Backend.DirectRouting");
});

test("ipip owns its device, and neither the fallback tunnel nor others", () => {
  expect(ipip.linkNames({ directRouting: false })).toEqual(["flannel.ipip"]);
  expect(ipip.ownsLink("flannel.ipip", "ipip")).toBe(true);
  expect(ipip.ownsLink("tunl0", "ipip")).toBe(false);
  expect(ipip.ownsLink("flannel.ipip", "vxlan")).toBe(false);
});

function route(dst: string, gateway?: string): HostRoute {
  return { dst: dst as never, gateway: gateway as never };
}
