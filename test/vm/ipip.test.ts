// The ipip backend in a guest, whose kernel has such devices: three nodes, everything that is done to one, and what packets look like. What goes on in there
// is ipip.sh.

import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { everyPing, type NodesResult, runNodes } from "./nodes.ts";
import { expectedWire, IPIP_DIRECT, IPIP as IPIP_WIRE, wireOf } from "./wire.ts";

const LIMIT_MS = 400_000;

const IPIP = { Network: "10.5.0.0/16", Backend: { Type: "ipip" } };
const DIRECT = { ...IPIP, Backend: { Type: "ipip", DirectRouting: true } };
const VXLAN = { ...IPIP, Backend: { Type: "vxlan" } };

let nodes: NodesResult;

beforeAll(async () => {
  nodes = await runNodes({
    script: join(import.meta.dir, "ipip.sh"),
    config: IPIP,
    modules: ["ipip", "vxlan"],
    variables: { IPIP: JSON.stringify(IPIP), DIRECT: JSON.stringify(DIRECT), VXLAN: JSON.stringify(VXLAN) },
    timeLimitMs: LIMIT_MS,
  });
}, LIMIT_MS + 10_000);

const lines = (name: string) => nodes.file(name).split("\n");
/** "10.5.7" of node n. */
const subnet = (n: number) => /^FLANNEL_SUBNET=(.*)\.1\/24$/m.exec(nodes.file(`subnet-${n}`))?.[1];

describe("three nodes", () => {
  test("every pod reaches every other", () => {
    expect(nodes.said("start")).toEqual(everyPing(["ipv4"]));
  });

  test("the device has the address of the interface, no remote, and the MTU less an IPv4 header", () => {
    expect(nodes.file("link")).toMatch(/flannel\.ipip@NONE: <NOARP,UP,LOWER_UP> mtu 1480 /);
    expect(nodes.file("link")).toMatch(/ipip ipip remote any local 192\.168\.77\.1 ttl inherit nopmtudisc /);
    expect(nodes.file("subnet-1")).toContain("FLANNEL_MTU=1480\n");
  });

  test("the device carries the first address of the subnet as a /32", () => {
    for (const n of [1, 2, 3]) expect(lines(`addresses-${n}`)).toEqual([`${subnet(n)}.0/32`]);
  });

  test("there is one route for each peer, by its public IP", () => {
    for (const n of [1, 2, 3]) {
      const peers = [1, 2, 3].filter((other) => other !== n);
      const expected = peers.map((peer) => `${subnet(peer)}.0/24 via 192.168.77.${peer} dev flannel.ipip onlink`);
      expect(lines(`routes-${n}`).sort()).toEqual(expected.sort());
    }
  });

  test("packets as long as the MTU go in one piece, longer ones in several or not at all", () => {
    expect(nodes.said("sizes")).toEqual([
      "1 > 2 ipv4: 3 of 3", //
      "1 > 2 ipv4: 0 of 3",
      "1 > 2 ipv4: 3 of 3",
    ]);
  });
});

test("on the wire there is an IPv4 packet of protocol 4 around the pods' own", () => {
  expect(nodes.said("captured")).toEqual(["1 > 2 ipv4: 3 of 3", "1 > 2 ipv4: 3 of 3"]);
  const packets = nodes.file("capture").split(/^(?=\d\d:)/m);
  expect(packets.length).toBeGreaterThanOrEqual(6);
  const outer =
    /proto IPIP \(4\), length 104\)\s+192\.168\.77\.([12]) > 192\.168\.77\.([12]): IP .*proto ICMP \(1\), length 84\)/;
  for (const packet of packets) expect(packet).toMatch(outer);
  expect(packets[0]).toContain(`${subnet(1)}.2 > ${subnet(2)}.2: ICMP echo request`);
});

test.each([IPIP_WIRE, IPIP_DIRECT].map((wire) => [wire.name, wire] as const))(
  "%s: packets, MTU and leases are as Go's were recorded",
  async (_name, wire) => expect(await wireOf(nodes, wire)).toEqual(expectedWire(wire)),
);

const DRIFTS = [
  "device deleted",
  "device down",
  "MTU changed",
  "local address changed",
  "parent given",
  "device deleted unheard",
  "MTU changed unheard",
  "local address changed unheard",
  "made anew with a remote",
  "address removed",
  "address added",
  "route deleted",
  "route to a wrong gateway",
  "route of nobody added",
  "nexthop deleted",
];

describe("drift", () => {
  test.each(DRIFTS)("%s", (name) => {
    const found = nodes.said("drift").filter((line) => line.startsWith(`${name}: `));
    const differences = nodes.said(`drift-${name.replaceAll(" ", "-")}`);
    expect([found, differences]).toEqual([[`${name}: repaired`], []]);
  });

  test("is all that was tried, and packets flow afterwards", () => {
    expect(nodes.said("drift").map((line) => line.replace(/:.*/, ""))).toEqual(DRIFTS);
    expect(nodes.said("drifted")).toEqual(everyPing(["ipv4"]));
  });
});

describe("restarts and peers", () => {
  test("no packet is lost while flanneld is away, however it ended, nor by what other peers do", () => {
    expect(nodes.said("loss")).toEqual([
      "TERM from: 0 lost",
      "TERM to: 0 lost",
      "KILL from: 0 lost",
      "KILL to: 0 lost",
      "others: 0 lost",
    ]);
  });

  test("a peer that leaves takes its route along, and joins again", () => {
    expect(nodes.said("left")).toEqual(["1: 1 routes", "2: 1 routes"]);
    expect(nodes.said("joined")).toEqual(everyPing(["ipv4"]));
  });

  test("a node whose address changes is reached at the new one", () => {
    expect(nodes.said("moved-link")).toEqual(["192.168.77.33"]);
    expect(nodes.said("moved")).toEqual(everyPing(["ipv4"]));
  });
});

describe("configurations", () => {
  test("with DirectRouting nothing is encapsulated on one network, but through a router it is", () => {
    expect(nodes.said("direct")).toEqual(everyPing(["ipv4"]));
    expect(nodes.said("direct-routes")).toEqual([
      "1: 1 by eth0, 1 by flannel.ipip",
      "2: 2 by eth0, 0 by flannel.ipip",
      "3: 1 by eth0, 1 by flannel.ipip",
    ]);
    const [first = ""] = nodes.file("capture-direct").split(/^(?=\d\d:)/m);
    expect(first).toMatch(/proto ICMP \(1\), length 84\)/);
    expect(first).toContain(`${subnet(1)}.2 > ${subnet(2)}.2: ICMP echo request`);
  });

  test("from ipip to vxlan and back, pods reach each other", () => {
    expect(nodes.said("vxlan")).toEqual(everyPing(["ipv4"]));
    expect(nodes.said("again")).toEqual(everyPing(["ipv4"]));
    expect(nodes.said("same")).toEqual(["same"]);
  });

  test("neither leaves anything of the other", () => {
    const none = (dev: string) => `0 nexthops, 0 routes by ${dev}`;
    const once = ["flannel.1 ", none("flannel.ipip")];
    expect(nodes.said("after-ipip")).toEqual([...once, ...once, ...once]);
    expect(nodes.said("after-vxlan")).toEqual(["flannel.ipip ", none("flannel.1")]);
  });

  test("the fallback tunnel and somebody else's are as they were", () => {
    expect(nodes.said("strangers")).toEqual(["same"]);
  });
});

test("no flanneld found an error, or took drift for a fight", () => {
  for (const n of [1, 2, 3]) expect(nodes.log(n, /^E|cannot|less often/)).toEqual([]);
});
