import { describe, expect, test } from "bun:test";
import { decoded, expectSameRequest } from "../../test/fixtures/netlink/captured.ts";
import type { Address } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import { RTNH_F_LINKDOWN, RTNH_F_ONLINK } from "./nexthop.ts";
import {
  decodeRoute,
  deleteRoute,
  dumpRoutes,
  lookUpRoute,
  putRoute,
  RT_SCOPE_LINK,
  RT_TABLE_MAIN,
  RTN_BLACKHOLE,
  RTN_UNICAST,
  RTPROT_BOOT,
  RTPROT_KERNEL,
} from "./route.ts";
import type { MessageWriter } from "./writer.ts";

const prefix = (text: string) => text as Prefix;
const address = (text: string) => text as Address;

const requests: [string, (writer: MessageWriter) => void][] = [
  [
    "ip route add 10.5.2.0/24 nhid 1001 protocol 70",
    (writer) => putRoute(writer, { dst: prefix("10.5.2.0/24"), nexthopId: 1001, protocol: 70 }, "add"),
  ],
  [
    "ip route add fd00:5:2::/64 nhid 1002 protocol 70",
    (writer) => putRoute(writer, { dst: prefix("fd00:5:2::/64"), nexthopId: 1002, protocol: 70 }, "add"),
  ],
  [
    "ip route replace 10.5.3.0/24 via 10.5.3.0 dev flannel.1 onlink",
    (writer) => {
      const route = { dst: prefix("10.5.3.0/24"), gateway: address("10.5.3.0"), oif: 7, flags: RTNH_F_ONLINK };
      putRoute(writer, route, "replace");
    },
  ],
  [
    "ip route add 10.6.0.0/16 dev eth0 src 10.9.0.1 metric 50 table 1000 mtu 1400 advmss 1360",
    (writer) => {
      const metrics = { priority: 50, mtu: 1400, advmss: 1360 };
      const route = { dst: prefix("10.6.0.0/16"), oif: 3, prefsrc: address("10.9.0.1"), table: 1000, ...metrics };
      putRoute(writer, route, "add");
    },
  ],
  [
    "ip route add default via 10.9.0.254 dev eth0",
    (writer) => putRoute(writer, { dst: prefix("0.0.0.0/0"), gateway: address("10.9.0.254"), oif: 3 }, "add"),
  ],
  [
    "ip route prepend 10.77.0.0/16 via 192.0.2.9 dev eth0",
    (writer) => putRoute(writer, { dst: prefix("10.77.0.0/16"), gateway: address("192.0.2.9"), oif: 3 }, "prepend"),
  ],
  [
    "ip route add 10.7.0.0/16 via inet6 fe80::1 dev flannel.1",
    (writer) => putRoute(writer, { dst: prefix("10.7.0.0/16"), gateway: address("fe80::1"), oif: 7 }, "add"),
  ],
  [
    "ip route add blackhole 10.11.0.0/16",
    (writer) => putRoute(writer, { dst: prefix("10.11.0.0/16"), type: RTN_BLACKHOLE }, "add"),
  ],
  ["ip route delete 10.5.3.0/24", (writer) => deleteRoute(writer, { dst: prefix("10.5.3.0/24") })],
  ["ip route show table 1000", (writer) => dumpRoutes(writer, { family: "ipv4", table: 1000 })],
  [
    "ip route show table main dev flannel.1",
    (writer) => dumpRoutes(writer, { family: "ipv4", table: RT_TABLE_MAIN, oif: 7 }),
  ],
  ["ip route show proto 70", (writer) => dumpRoutes(writer, { family: "ipv4", table: RT_TABLE_MAIN, protocol: 70 })],
  ["ip -6 route show dev flannel.1", (writer) => dumpRoutes(writer, { family: "ipv6", table: RT_TABLE_MAIN, oif: 7 })],
  ["ip route get 10.5.2.9", (writer) => lookUpRoute(writer, address("10.5.2.9"))],
];

describe("requests for routes are those of iproute2", () => {
  test.each(requests)("%s", (command, write) => expectSameRequest(command, write));
});

const PLAIN = {
  kind: "route",
  family: "ipv4",
  table: RT_TABLE_MAIN,
  protocol: RTPROT_BOOT,
  scope: 0,
  type: RTN_UNICAST,
  flags: 0,
  oif: undefined,
  gateway: undefined,
  nexthopId: undefined,
  priority: undefined,
  prefsrc: undefined,
  tos: 0,
  mtu: undefined,
  advmss: undefined,
  hops: undefined,
};

describe("decodeRoute", () => {
  test("reads every form of route in the main table", () => {
    const down = { flags: RTNH_F_LINKDOWN };
    const kernel = { ...PLAIN, protocol: RTPROT_KERNEL, scope: RT_SCOPE_LINK, ...down, oif: 3 };
    const toGateway = { flags: RTNH_F_ONLINK, oif: 7 };
    expect(decoded("ip route show table main", decodeRoute)).toStrictEqual([
      { ...PLAIN, ...down, dst: "0.0.0.0/0", gateway: "10.9.0.254", oif: 3 },
      { ...PLAIN, ...toGateway, dst: "10.5.2.0/24", gateway: "10.5.2.0", nexthopId: 1001, protocol: 70 },
      { ...PLAIN, ...toGateway, dst: "10.5.3.0/24", gateway: "10.5.3.0" },
      { ...PLAIN, dst: "10.7.0.0/16", gateway: "fe80::1", oif: 7 },
      { ...kernel, dst: "10.8.0.2/32", prefsrc: "10.8.0.1" },
      { ...kernel, dst: "10.9.0.0/24", prefsrc: "10.9.0.1" },
      {
        ...PLAIN,
        ...down,
        dst: "10.10.0.0/16",
        hops: [
          { oif: 3, gateway: "10.9.0.2", weight: 3, flags: RTNH_F_LINKDOWN },
          { oif: 3, gateway: "10.9.0.3", weight: 1, flags: RTNH_F_LINKDOWN },
        ],
      },
      { ...PLAIN, dst: "10.11.0.0/16", type: RTN_BLACKHOLE },
    ]);
  });

  test("reads a table above 255 and metrics from their attributes", () => {
    const metrics = { priority: 50, mtu: 1400, advmss: 1360 };
    const found = decoded("ip route show table 1000", decodeRoute);
    expect(found).toMatchObject([{ dst: "10.6.0.0/16", table: 1000, prefsrc: "10.9.0.1", oif: 3, ...metrics }]);
  });

  test("reads IPv6 routes with the priority that the kernel gave them", () => {
    const through = { gateway: "fd00:5:2::", nexthopId: 1002, oif: 7, priority: 1024, flags: RTNH_F_ONLINK };
    expect(decoded("ip -6 route show dev flannel.1", decodeRoute)).toMatchObject([
      { family: "ipv6", dst: "fd00:5:1::/128", priority: 256 },
      { family: "ipv6", dst: "fd00:5:2::/64", ...through, protocol: 70 },
      { family: "ipv6", dst: "fe80::/64", gateway: undefined },
    ]);
  });

  test("reads the answer to a lookup", () => {
    const answer = { dst: "10.5.2.9/32", gateway: "10.5.2.0", oif: 7, prefsrc: "10.5.1.0", table: RT_TABLE_MAIN };
    expect(decoded("ip route get 10.5.2.9", decodeRoute)).toMatchObject([answer]);
  });
});
