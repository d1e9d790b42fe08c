import { describe, expect, test } from "bun:test";
import { FACTS, lease, OWN } from "../../test/kernel/contract.ts";
import { ConfigError } from "../config/fault.ts";
import type { Lease } from "../lease/lease.ts";
import { printOperation } from "../state/print.ts";
import { udp } from "./udp.ts";

const CONFIG = udp.config({ Type: "udp" });

const of = (n: number, changes: Partial<Lease> = {}) => lease(n, { backendType: "", backendData: {}, ...changes });

describe("udp.node()", () => {
  test("is a TUN device with the first address of the own subnet, a packet loop, and one route for the network", () => {
    const objects = [...udp.node(CONFIG, {}, OWN, FACTS)];
    expect(objects.map((object) => printOperation({ verb: "add", object }))).toEqual([
      "ip tuntap add flannel0 mode tun\nip link set flannel0 mtu 1472",
      "ip link set flannel0 up",
      "ip address replace 10.5.1.0/32 dev flannel0",
      "# start: packet loop dev flannel0 udp 192.168.77.1:8285",
      "ip route replace 10.5.0.0/16 dev flannel0 proto 70",
    ]);
    expect(objects[3]).toMatchObject({ network: "10.5.0.0/16", subnet: "10.5.1.0/24", mtu: 1472, strict: false });
  });

  test("says what the options say", () => {
    const config = udp.config({ type: "udp", port: 9000, STRICT: true });
    expect([...udp.node(config, {}, OWN, FACTS)][3]).toMatchObject({ port: 9000, strict: true });
    expect(udp.peer(config, {}, OWN, of(2), FACTS)).toMatchObject([{ endpoint: { port: 9000 } }]);
  });
});

describe("udp.peer()", () => {
  test.each(["", "udp"])("takes a peer whose BackendType is %p", (backendType) => {
    expect(udp.peer(CONFIG, {}, OWN, of(2, { backendType }), FACTS)).toEqual([
      {
        kind: "looppeer",
        dev: "flannel0",
        subnet: "10.5.2.0/24",
        endpoint: { address: "192.168.77.2", port: 8285 },
      },
    ] as never);
  });

  test.each([
    [of(2, { backendType: "vxlan" }), 'its BackendType is "vxlan", this node runs udp'],
    [of(2, { publicIp: {} }), "it has no IPv4 subnet with a public IP"],
    [of(2, { subnet: { ipv6: lease(2).subnet.ipv6 as never } }), "it has no IPv4 subnet with a public IP"],
  ])("refuses a peer", (peer, reason) => {
    expect(udp.peer(CONFIG, {}, OWN, peer, FACTS)).toMatchObject({ reason });
  });
});

test("udp: its lease has neither type nor data, its MTU leaves room for IPv4 and UDP", () => {
  expect([udp.leaseType, udp.leaseData(CONFIG, {}, { ipv4: true })]).toEqual(["", {}]);
  expect(udp.mtu(CONFIG, FACTS, { ipv4: true })).toBe(1472);
});

test("udp.config() names every fault", () => {
  expect(() => udp.config({ Port: 0, Strict: "yes" })).toThrow(ConfigError);
  expect(() => udp.config({ Port: 0, Strict: "yes" })).toThrow(/Backend\.Port: got 0.*\n.*Backend\.Strict: got "yes"/);
});

test.each([
  ["flannel0", "tun", true],
  ["flannel12", "tun", true],
  ["flannel.1", "tun", false],
  ["tun0", "tun", false],
  ["flannel0", "vxlan", false],
] as const)("udp.ownsLink(%p, %p) is %p", (name, type, owned) => {
  expect(udp.ownsLink(name, type)).toBe(owned);
});
