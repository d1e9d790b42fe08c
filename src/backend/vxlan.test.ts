import { describe, expect, test } from "bun:test";
import { CONFIG, FACTS, IDENTITY, lease, OWN } from "../../test/kernel/contract.ts";
import { ConfigError } from "../config/fault.ts";
import type { Lease } from "../lease/lease.ts";
import { printOperation } from "../state/print.ts";
import type { HostFacts, HostRoute } from "./backend.ts";
import { vxlan } from "./vxlan.ts";

const BOTH = { ipv4: true, ipv6: true };

function commands(peer: Lease, facts: HostFacts = FACTS, config = CONFIG): readonly string[] | string {
  const objects = vxlan.peer(config, IDENTITY, OWN, peer, facts);
  if ("kind" in objects) return objects.reason;
  return objects.map((object) => printOperation({ verb: "add", object }, () => 7));
}

describe("vxlan.node()", () => {
  test("makes one device for each family, with accept_ra off before the IPv6 one is up", () => {
    const lines = [...vxlan.node(CONFIG, IDENTITY, OWN, FACTS)].map((object) =>
      printOperation({ verb: "add", object }),
    );
    expect(lines).toEqual([
      "ip link add flannel.1 address 02:00:00:00:00:01 mtu 1450 type vxlan id 1 dev eth0 local 192.168.77.1 dstport 8472 nolearning",
      "ip link set flannel.1 up",
      "ip address replace 10.5.1.0/32 dev flannel.1",
      "ip link add flannel-v6.1 address 02:00:00:00:40:01 mtu 1430 type vxlan id 1 dev eth0 local fd00:77::1 dstport 8472 nolearning",
      "sysctl -w net/ipv6/conf/flannel-v6.1/accept_ra=0",
      "ip link set flannel-v6.1 up",
      "ip address replace fd00:5:0:1::/128 dev flannel-v6.1 nodad",
    ]);
  });

  test("follows VNI, Port, GBP and Learning", () => {
    const config = vxlan.config({ type: "vxlan", vni: 7, PORT: 4789, GBP: true, Learning: true });
    const [link] = [...vxlan.node(config, IDENTITY, { ...OWN, subnet: { ipv4: OWN.subnet.ipv4 as never } }, FACTS)];
    expect(link && printOperation({ verb: "add", object: link })).toBe(
      "ip link add flannel.7 address 02:00:00:00:00:01 mtu 1450 type vxlan id 7 dev eth0 local 192.168.77.1 dstport 4789 learning gbp",
    );
  });
});

describe("vxlan.peer()", () => {
  const neighbourAndFdb = [
    "ip neighbour replace 10.5.2.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud permanent",
    "bridge fdb replace 02:00:00:00:00:02 dev flannel.1 dst 192.168.77.2 self permanent",
  ];
  const ipv4Only = lease(2, { subnet: { ipv4: lease(2).subnet.ipv4 as never } });

  test("routes through a nexthop object where the kernel has them", () => {
    expect(commands(ipv4Only)).toEqual([
      ...neighbourAndFdb,
      "ip nexthop replace id 7 via 10.5.2.0 dev flannel.1 onlink proto 70",
      "ip route replace 10.5.2.0/24 nhid 7 proto 70",
    ]);
  });

  test("routes by the gateway where it has not", () => {
    expect(commands(ipv4Only, { ...FACTS, nexthopObjects: false })).toEqual([
      ...neighbourAndFdb,
      "ip route replace 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink proto 70",
    ]);
  });

  test("takes a peer in both families, or in the one it has", () => {
    expect(commands(lease(2)).length).toBe(8);
    expect(commands(lease(2, { publicIp: { ipv6: lease(2).publicIp.ipv6 as never } })).length).toBe(4);
  });

  const routes: readonly { readonly name: string; readonly routes: readonly HostRoute[]; readonly direct: boolean }[] =
    [
      { name: "a directly connected network", routes: [route("192.168.77.0/24")], direct: true },
      { name: "a gateway", routes: [route("192.168.77.0/24", "192.168.77.254")], direct: false },
      {
        name: "a gateway by the more specific route",
        routes: [route("192.168.77.0/24"), route("192.168.77.2/32", "192.168.77.254")],
        direct: false,
      },
      { name: "no route of this interface", routes: [], direct: false },
    ];
  for (const { name, routes: hostRoutes, direct } of routes) {
    test(`with DirectRouting, behind ${name}: ${direct ? "no encapsulation" : "vxlan"}`, () => {
      const facts = { ...FACTS, external: { ...FACTS.external, routes: hostRoutes } };
      const config = { ...CONFIG, directRouting: true };
      const expected = direct
        ? ["ip nexthop replace id 7 via 192.168.77.2 dev eth0 proto 70", "ip route replace 10.5.2.0/24 nhid 7 proto 70"]
        : [
            ...neighbourAndFdb,
            "ip nexthop replace id 7 via 10.5.2.0 dev flannel.1 onlink proto 70",
            "ip route replace 10.5.2.0/24 nhid 7 proto 70",
          ];
      expect(commands(ipv4Only, facts, config)).toEqual(expected);
    });
  }

  const refusals: readonly (readonly [string, Partial<Lease>, string])[] = [
    ["another backend", { backendType: "host-gw" }, 'its BackendType is "host-gw", this node runs vxlan'],
    ["no backend data", { backendData: {} }, 'its backend data is undefined, want {"VtepMAC":"<MAC>"}'],
    [
      "a MAC that is none",
      { backendData: { ipv4: { VtepMAC: "x" } } },
      'its backend data is {"VtepMAC":"x"}, want {"VtepMAC":"<MAC>"}',
    ],
    [
      "a multicast MAC",
      { backendData: { ipv4: { VtepMAC: "01:00:5e:00:00:01" } } },
      "its VtepMAC 01:00:5e:00:00:01 is no unicast MAC",
    ],
    [
      "this node's MAC",
      { backendData: { ipv4: { VtepMAC: "02:00:00:00:00:01" } } },
      "its VtepMAC 02:00:00:00:00:01 is this node's own",
    ],
    ["no public IP", { publicIp: {} }, "it has no subnet with a public IP in a family of this node"],
  ];
  for (const [name, changes, reason] of refusals) {
    test(`refuses a peer with ${name}`, () => expect(commands({ ...ipv4Only, ...changes })).toBe(reason));
  }
});

describe("vxlan.config()", () => {
  test("names every fault", () => {
    expect(() => vxlan.config({ VNI: 0, Port: 70_000, GBP: "yes" })).toThrow(ConfigError);
    try {
      vxlan.config({ VNI: 0, Port: 70_000, GBP: "yes" });
    } catch (error) {
      const lines = String((error as Error).message).split("\n");
      expect(lines.map((line) => line.split(",")[0])).toEqual([
        "net-conf.json: Backend.VNI: got 0",
        "net-conf.json: Backend.Port: got 70000",
        'net-conf.json: Backend.GBP: got "yes"',
      ]);
    }
  });
});

describe("identity", () => {
  const device = { kind: "link", name: "flannel.1", mac: "02:00:00:00:00:99", mtu: 1450 } as never;
  const stored = { ipv4: { VNI: 1, VtepMAC: "0A:00:00:00:00:01" } };
  const random = (length: number) => new Uint8Array(length).fill(0xff);
  const noKey = () => new Uint8Array();
  const rows = [
    { name: "the stored lease's MAC", stored, links: [device], mac: "0a:00:00:00:00:01" },
    { name: "the existing device's", stored: {}, links: [device], mac: "02:00:00:00:00:99" },
    { name: "a random, locally administered one", stored: {}, links: [], mac: "fe:ff:ff:ff:ff:ff" },
  ];
  for (const row of rows) {
    test(`is ${row.name}`, () => {
      const identity = vxlan.identity(
        vxlan.known(CONFIG, { stored: row.stored, links: row.links, secret: undefined }),
        random,
        noKey,
      );
      expect(identity.mac.ipv4 as string).toBe(row.mac);
    });
  }
});

test("vxlan.mtu() is the smaller of the families', within the external interface's", () => {
  const rows = [
    [0, BOTH, 1430],
    [0, { ipv4: true }, 1450],
    [1400, { ipv4: true }, 1350],
    [9000, { ipv4: true }, 1450],
  ] as const;
  for (const [mtu, families, expected] of rows) expect(vxlan.mtu({ ...CONFIG, mtu }, FACTS, families)).toBe(expected);
});

function route(dst: string, gateway?: string): HostRoute {
  return { dst, gateway } as HostRoute;
}
