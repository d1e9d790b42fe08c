import { describe, expect, test } from "bun:test";
import { FACTS as HOST, lease, OWN } from "../../test/kernel/contract.ts";
import type { Lease } from "../lease/lease.ts";
import { printOperation } from "../state/print.ts";
import type { HostFacts, HostRoute } from "./backend.ts";
import { hostGw } from "./host_gw.ts";

const route = (dst: string, gateway?: string) => ({ dst, gateway }) as HostRoute;
const on = (...routes: HostRoute[]): HostFacts => ({ ...HOST, external: { ...HOST.external, routes } });
const FACTS = on(route("192.168.77.0/24"), route("fd00:77::/64"));

const peer = (n: number, changes: Partial<Lease> = {}) =>
  lease(n, { backendType: "host-gw", backendData: {}, ...changes });

function commands(of: Lease, facts = FACTS): readonly string[] | string {
  const objects = hostGw.peer({}, {}, OWN, of, facts);
  if ("kind" in objects) return objects.reason;
  return objects.map((object) => printOperation({ verb: "add", object }, () => 7));
}

describe("hostGw.peer()", () => {
  test("routes by the peer's public IP, through nexthop objects where the kernel has them", () => {
    expect(commands(peer(2))).toEqual([
      "ip nexthop replace id 7 via 192.168.77.2 dev eth0 proto 70",
      "ip route replace 10.5.2.0/24 nhid 7 proto 70",
      "ip nexthop replace id 7 via fd00:77::2 dev eth0 proto 70",
      "ip route replace fd00:5:0:2::/64 nhid 7 proto 70",
    ]);
    expect(commands(peer(2), { ...FACTS, nexthopObjects: false })).toEqual([
      "ip route replace 10.5.2.0/24 via 192.168.77.2 dev eth0 proto 70",
      "ip route replace fd00:5:0:2::/64 via fd00:77::2 dev eth0 proto 70",
    ]);
  });

  test("takes a peer in the one family that it has", () => {
    expect(commands(peer(2, { publicIp: { ipv6: peer(2).publicIp.ipv6 as never } }))).toHaveLength(2);
    expect(commands(peer(2, { publicIp: {} }))).toBe("it has no subnet with a public IP in a family of this node");
  });

  const offLink =
    "its public IP 192.168.77.2 is not on link at eth0 (192.168.77.1), and host-gw routes without encapsulation: " +
    "use the vxlan backend for a network with routers between nodes, perhaps with DirectRouting";
  const rows: [string, HostFacts][] = [
    ["behind a gateway", on(route("192.168.77.0/24", "192.168.77.254"), route("fd00:77::/64"))],
    [
      "behind a gateway by the more specific route",
      on(route("192.168.77.0/24"), route("192.168.77.2/32", "192.168.77.254")),
    ],
    ["of no network of the interface", on(route("192.168.78.0/24"))],
  ];
  test.each(rows)("refuses a peer %s, and says what to do", (_, facts) =>
    expect(commands(peer(2), facts)).toBe(offLink),
  );

  test("refuses a peer of another backend", () => {
    expect(commands(peer(2, { backendType: "vxlan" }))).toBe('its BackendType is "vxlan", this node runs host-gw');
  });
});

test("hostGw has nothing of its own: no device, no identity, no backend data, the interface's MTU", () => {
  const config = hostGw.config({ Type: "host-gw" });
  expect([...hostGw.node(config, {}, OWN, FACTS)]).toEqual([]);
  expect(hostGw.linkNames(config)).toEqual([]);
  expect(hostGw.leaseData(config, {}, { ipv4: true, ipv6: true })).toEqual({});
  expect(hostGw.mtu(config, FACTS, { ipv4: true, ipv6: true })).toBe(1500);
});
