// The codec and the sockets against the real kernel, each test in a network namespace of its own. What was made is read
// back twice: by this codec, and as `ip` and `bridge` print it.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Address } from "../../src/ip/address.ts";
import type { Mac } from "../../src/ip/mac.ts";
import type { Prefix } from "../../src/ip/prefix.ts";
import { deleteAddress, putAddress } from "../../src/netlink/address.ts";
import { AnswerError } from "../../src/netlink/error.ts";
import { decodeFdb, deleteFdb, dumpFdb, putFdb } from "../../src/netlink/fdb.ts";
import {
  addLink,
  changeLink,
  decodeLink,
  deleteLink,
  dumpLinks,
  IFF_UP,
  type NewLink,
} from "../../src/netlink/link.ts";
import {
  findLink,
  listAddresses,
  listFdb,
  listLinks,
  listNeighbours,
  listNexthops,
  listRoutes,
  listRules,
} from "../../src/netlink/list.ts";
import { decodeNeighbour, deleteNeighbour, dumpNeighbours, putNeighbour } from "../../src/netlink/neighbour.ts";
import {
  decodeNexthop,
  deleteNexthop,
  dumpNexthops,
  getNexthop,
  putNexthop,
  RTNH_F_ONLINK,
} from "../../src/netlink/nexthop.ts";
import { addNsid, decodeNsid, getNsid } from "../../src/netlink/nsid.ts";
import { decodeRoute, deleteRoute, dumpRoutes, lookUpRoute, putRoute, RT_TABLE_MAIN } from "../../src/netlink/route.ts";
import { addRule, deleteRule } from "../../src/netlink/rule.ts";
import { RequestSocket } from "../../src/netlink/socket.ts";
import { withNamespaceFd } from "../../src/sys/netns.ts";
import { Namespace } from "./linux_world.ts";

const address = (text: string) => text as Address;
const prefix = (text: string) => text as Prefix;
const mac = (text: string) => text as Mac;

let namespace: Namespace;
let socket: RequestSocket;
beforeEach(() => {
  namespace = new Namespace();
  socket = new RequestSocket({ namespace: namespace.path });
});
afterEach(() => {
  socket[Symbol.dispose]();
  namespace[Symbol.dispose]();
});

function indexOf(name: string): number {
  const link = findLink(socket, { name });
  if (!link) throw new Error(`no link ${name}`);
  return link.index;
}

function add(link: NewLink): number {
  socket.request((writer) => addLink(writer, link));
  return indexOf(link.name);
}

/** eth0 with its other end eth0p, both up, and a vxlan device over it, up. */
function addVxlan(): { eth0: number; flannel1: number } {
  const eth0 = add({ name: "eth0", up: true, info: { type: "veth", peer: { name: "eth0p" } } });
  socket.request((writer) => changeLink(writer, indexOf("eth0p"), { up: true }));
  const vxlan = { type: "vxlan", vni: 1, parentIndex: eth0, local: address("192.0.2.1"), port: 8472 } as const;
  const info = { ...vxlan, learning: false, gbp: true };
  const flannel1 = add({ name: "flannel.1", mtu: 1400, mac: mac("3e:00:00:00:00:01"), info, up: true });
  return { eth0, flannel1 };
}

describe("links", () => {
  test("a vxlan device is made as asked, and changed while it stands", () => {
    const { eth0, flannel1 } = addVxlan();
    const found = findLink(socket, { index: flannel1 });
    expect(found).toMatchObject({ name: "flannel.1", mtu: 1400, mac: mac("3e:00:00:00:00:01") });
    expect(found?.info).toMatchObject({
      type: "vxlan",
      vni: 1,
      parentIndex: eth0,
      local: address("192.0.2.1"),
      gbp: true,
    });
    expect(namespace.run("ip -d link show dev flannel.1")).toContain(
      "vxlan id 1 local 192.0.2.1 dev eth0 srcport 0 0 dstport 8472 nolearning",
    );
    const change = { mtu: 1300, mac: mac("3e:00:00:00:00:02"), alias: "pods", up: false };
    socket.request((writer) => changeLink(writer, flannel1, change));
    socket.request((writer) => changeLink(writer, flannel1, { info: { type: "vxlan", learning: true } }));
    const changed = findLink(socket, { name: "flannel.1" });
    expect(changed).toMatchObject({ mtu: 1300, mac: mac("3e:00:00:00:00:02"), alias: "pods" });
    expect(changed?.info).toMatchObject({ learning: true, gbp: true });
    expect((changed?.flags ?? 0) & IFF_UP).toBe(0);
    socket.request((writer) => deleteLink(writer, flannel1));
    expect(findLink(socket, { name: "flannel.1" })).toBeUndefined();
  });

  test("a vxlan device over IPv6 has its local address there", () => {
    const local = address("2001:db8::1");
    add({ name: "flannel-v6.1", info: { type: "vxlan", vni: 1, local, port: 8472, learning: false } });
    expect(findLink(socket, { name: "flannel-v6.1" })?.info).toMatchObject({ local, port: 8472, gbp: false });
    expect(namespace.run("ip -d link show dev flannel-v6.1")).toContain("local 2001:db8::1");
  });

  test("a veth's peer is made in another namespace, and its number is known", () => {
    using other = new Namespace();
    const [index, id] = withNamespaceFd(other.path, (namespaceFd) => {
      const peer = { name: "eth0", namespaceFd, mac: mac("02:00:00:00:00:02"), mtu: 1450 };
      const made = add({ name: "veth1", mtu: 1450, info: { type: "veth", peer } });
      return [made, socket.request((writer) => getNsid(writer, namespaceFd), decodeNsid)[0]?.id];
    });
    const link = findLink(socket, { index });
    expect(link?.parentNamespaceId).toBe(id);
    expect(other.run("ip -o link show dev eth0")).toContain("mtu 1450");
    expect(other.run("ip -o link show dev eth0")).toContain("02:00:00:00:00:02");
  });

  test("a link moves to another namespace, which can be given a number", () => {
    using other = new Namespace();
    const index = add({ name: "veth1", info: { type: "veth", peer: { name: "veth2" } } });
    withNamespaceFd(other.path, (namespaceFd) => {
      socket.request((writer) => addNsid(writer, namespaceFd, 42));
      socket.request((writer) => changeLink(writer, index, { namespaceFd, name: "eth0" }));
    });
    expect(findLink(socket, { name: "veth1" })).toBeUndefined();
    expect(findLink(socket, { name: "veth2" })?.parentNamespaceId).toBe(42);
    expect(other.run("ip -o link show dev eth0")).toContain("eth0");
  });

  test("a bridge takes ports, and dumps are filtered by master and by kind", () => {
    const cni0 = add({ name: "cni0", info: { type: "bridge", forwardDelay: 0 }, up: true });
    const veth1 = add({ name: "veth1", info: { type: "veth", peer: { name: "veth2" } }, masterIndex: cni0 });
    socket.request((writer) => changeLink(writer, veth1, { port: { hairpin: true, isolated: true } }));
    const port = { hairpin: true, isolated: true, learning: true, unicastFlood: true };
    expect(findLink(socket, { index: veth1 })).toMatchObject({ masterIndex: cni0, port });
    expect(findLink(socket, { index: cni0 })?.info).toMatchObject({ type: "bridge", forwardDelay: 0 });
    const names = (links: readonly { name: string }[]) => links.map((link) => link.name).sort();
    expect(names(socket.dump((writer) => dumpLinks(writer, { masterIndex: cni0 }), decodeLink))).toEqual(["veth1"]);
    expect(names(socket.dump((writer) => dumpLinks(writer, { type: "veth" }), decodeLink))).toEqual(["veth1", "veth2"]);
    expect(names(listLinks(socket))).toEqual(["cni0", "lo", "veth1", "veth2"]);
    expect(names(listLinks(socket, { type: "bridge" }))).toEqual(["cni0"]);
    socket.request((writer) => changeLink(writer, veth1, { masterIndex: 0 }));
    expect(listLinks(socket, { masterIndex: cni0 })).toEqual([]);
  });
});

describe("what stands on a link", () => {
  test("addresses of both families", () => {
    const { eth0, flannel1 } = addVxlan();
    const own = prefix("10.5.1.0/32");
    const own6 = prefix("fd00:5:1::/128");
    socket.request((writer) => putAddress(writer, { index: flannel1, address: own }, "add"));
    socket.request((writer) => putAddress(writer, { index: flannel1, address: own6 }, "add"));
    socket.request((writer) => putAddress(writer, { index: eth0, address: prefix("192.0.2.1/24") }, "replace"));
    const found = listAddresses(socket, { index: flannel1 }).map((message) => message.address);
    expect(found).toEqual(expect.arrayContaining([own, own6]));
    expect(found).not.toContain(prefix("192.0.2.1/24"));
    expect(listAddresses(socket, { index: flannel1, family: "ipv4" }).map((message) => message.address)).toEqual([own]);
    expect(listAddresses(socket, { family: "ipv4" })).toHaveLength(2);
    socket.request((writer) => deleteAddress(writer, { index: flannel1, address: own6 }));
    expect(namespace.run("ip -6 address show dev flannel.1")).not.toContain("fd00:5:1::");
  });

  test("neighbours and FDB entries, dumped for one link by the kernel itself", () => {
    const { eth0, flannel1 } = addVxlan();
    const neighbour = { address: address("10.5.2.0"), mac: mac("3e:00:00:00:00:02") };
    const neighbour6 = { address: address("fd00:5:2::"), mac: mac("3e:00:00:00:00:02") };
    const entry = { index: flannel1, mac: mac("3e:00:00:00:00:02"), dst: address("192.0.2.2") };
    const outcomes = socket.batch((writer) => {
      putNeighbour(writer, { index: flannel1, ...neighbour }, "replace");
      putNeighbour(writer, { index: flannel1, ...neighbour6 }, "replace");
      putNeighbour(writer, { index: eth0, address: address("192.0.2.9"), mac: mac("02:00:00:00:00:09") }, "add");
      putFdb(writer, entry, "replace");
    });
    expect(outcomes).toEqual([undefined, undefined, undefined, undefined]);
    expect(namespace.run("ip neighbour show 10.5.2.0 dev flannel.1")).toContain("lladdr 3e:00:00:00:00:02 PERMANENT");
    expect(namespace.run("bridge fdb show dev flannel.1")).toContain("3e:00:00:00:00:02 dst 192.0.2.2 self permanent");
    const dumped = socket.dump((writer) => dumpNeighbours(writer, { index: flannel1 }), decodeNeighbour);
    expect(dumped.filter((message) => message.index !== flannel1)).toEqual([]);
    expect(dumped).toContainEqual(expect.objectContaining(neighbour));
    expect(dumped).toContainEqual(expect.objectContaining(neighbour6));
    expect(listNeighbours(socket, { index: eth0, family: "ipv4" })).toMatchObject([{ address: address("192.0.2.9") }]);
    const entries = socket.dump((writer) => dumpFdb(writer, { index: flannel1 }), decodeFdb);
    expect(entries).toMatchObject([entry]);
    expect(listFdb(socket, { index: flannel1 })).toEqual(entries);
    socket.request((writer) => deleteNeighbour(writer, { index: flannel1, address: address("10.5.2.0") }));
    socket.request((writer) => deleteFdb(writer, entry));
    expect(namespace.run("ip neighbour show 10.5.2.0 dev flannel.1")).toBe("");
    expect(listFdb(socket, { index: flannel1 })).toEqual([]);
  });

  test("a MAC of a vxlan device has one destination after replace, two after append", () => {
    const { flannel1 } = addVxlan();
    const entry = { index: flannel1, mac: mac("3e:00:00:00:00:02") };
    const everywhere = { index: flannel1, mac: mac("00:00:00:00:00:00") };
    socket.batch((writer) => {
      putFdb(writer, { ...entry, dst: address("192.0.2.2") }, "replace");
      putFdb(writer, { ...entry, dst: address("192.0.2.3") }, "replace");
      putFdb(writer, { ...everywhere, dst: address("192.0.2.2"), port: 4789, vni: 5 }, "append");
      putFdb(writer, { ...everywhere, dst: address("192.0.2.3") }, "append");
    });
    const found = listFdb(socket, { index: flannel1 }).map(({ mac, dst, port, vni }) =>
      [mac, dst, port, vni].join(" "),
    );
    expect(found.sort()).toEqual([
      "00:00:00:00:00:00 192.0.2.2 4789 5",
      "00:00:00:00:00:00 192.0.2.3  ",
      "3e:00:00:00:00:02 192.0.2.3  ",
    ]);
  });

  test("nexthops and routes through them, of both families", () => {
    const { flannel1 } = addVxlan();
    const through = { oif: flannel1, flags: RTNH_F_ONLINK, protocol: 70 };
    const outcomes = socket.batch((writer) => {
      putAddress(writer, { index: flannel1, address: prefix("10.5.1.0/32") }, "add");
      putNexthop(writer, { id: 7001, gateway: address("10.5.2.0"), ...through }, "add");
      putNexthop(writer, { id: 7002, gateway: address("fd00:5:2::"), ...through }, "add");
      putRoute(writer, { dst: prefix("10.5.2.0/24"), nexthopId: 7001, protocol: 70 }, "add");
      putRoute(writer, { dst: prefix("fd00:5:2::/64"), nexthopId: 7002, protocol: 70 }, "add");
      putRoute(writer, { dst: prefix("10.5.3.0/24"), gateway: address("10.5.3.0"), ...through }, "add");
      putRoute(writer, { dst: prefix("10.6.0.0/16"), oif: flannel1, table: 1000, mtu: 1300 }, "add");
      putNexthop(writer, { id: 7003, blackhole: true, protocol: 99 }, "add");
    });
    expect(outcomes.slice(0, 7)).toEqual(new Array(7).fill(undefined));
    expect(outcomes[7]?.kernelMessage).toBe("Device for nexthop is not up"); // lo is down
    expect(namespace.run("ip route show 10.5.2.0/24")).toBe(
      "10.5.2.0/24 nhid 7001 via 10.5.2.0 dev flannel.1 proto 70 onlink \n",
    );
    const ours = { family: "ipv4", table: RT_TABLE_MAIN, protocol: 70 } as const;
    const routes = socket.dump((writer) => dumpRoutes(writer, ours), decodeRoute);
    expect(routes.map(({ dst, nexthopId }) => [dst, nexthopId])).toEqual([
      [prefix("10.5.2.0/24"), 7001],
      [prefix("10.5.3.0/24"), undefined],
    ]);
    expect(listRoutes(socket, { family: "ipv6", protocol: 70, oif: flannel1 })).toMatchObject([{ nexthopId: 7002 }]);
    expect(listRoutes(socket, { family: "ipv4", table: 1000 })).toMatchObject([
      { dst: prefix("10.6.0.0/16"), mtu: 1300 },
    ]);
    expect(listRoutes(socket, { family: "ipv4", table: 9999 })).toEqual([]);
    expect(socket.dump((writer) => dumpNexthops(writer, { oif: flannel1 }), decodeNexthop)).toHaveLength(2);
    expect(listNexthops(socket, { protocol: 99 })).toEqual([]);
    expect(socket.request((writer) => getNexthop(writer, 7001), decodeNexthop)).toMatchObject([
      { id: 7001, gateway: address("10.5.2.0"), ...through },
    ]);
    const [answer] = socket.request((writer) => lookUpRoute(writer, address("10.5.2.9")), decodeRoute);
    expect(answer).toMatchObject({ oif: flannel1, gateway: address("10.5.2.0"), prefsrc: address("10.5.1.0") });
    socket.request((writer) => deleteRoute(writer, { dst: prefix("10.5.3.0/24") }));
    socket.request((writer) => deleteNexthop(writer, 7001));
    expect(listRoutes(socket, ours)).toEqual([]);
  });

  test("rules", () => {
    const rule = { family: "ipv4", priority: 100, src: prefix("10.5.1.0/24"), table: 1000, protocol: 70 } as const;
    socket.request((writer) => addRule(writer, rule));
    expect(listRules(socket, "ipv4")).toContainEqual(expect.objectContaining(rule));
    socket.request((writer) => deleteRule(writer, rule));
    expect(listRules(socket, "ipv4").map(({ priority }) => priority)).toEqual([0, 32766, 32767]);
  });
});

test("a refusal has the kernel's own words", () => {
  const info = { type: "vxlan", vni: 1, port: 8472, learning: false } as const;
  add({ name: "flannel.1", info });
  const attempt = () => socket.request((writer) => addLink(writer, { name: "flannel.2", info }));
  expect(attempt).toThrow(AnswerError);
  expect(attempt).toThrow('kernel says "A VXLAN device with the specified VNI already exists"');
});
