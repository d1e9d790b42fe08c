import { describe, expect, test } from "bun:test";
import { decoded, expectSameRequest } from "../../test/fixtures/netlink/captured.ts";
import type { Address } from "../ip/address.ts";
import { decodeNexthop, deleteNexthop, dumpNexthops, getNexthop, putNexthop, RTNH_F_ONLINK } from "./nexthop.ts";
import { RT_SCOPE_LINK } from "./route.ts";
import type { MessageWriter } from "./writer.ts";

const GATEWAY = "10.5.2.0" as Address;
const GATEWAY6 = "fd00:5:2::" as Address;
const OURS = { oif: 7, flags: RTNH_F_ONLINK, protocol: 70 };

const requests: [string, (writer: MessageWriter) => void][] = [
  [
    "ip nexthop add id 1001 via 10.5.2.0 dev flannel.1 onlink protocol 70",
    (writer) => putNexthop(writer, { id: 1001, gateway: GATEWAY, ...OURS }, "add"),
  ],
  [
    "ip nexthop replace id 1002 via fd00:5:2:: dev flannel.1 onlink protocol 70",
    (writer) => putNexthop(writer, { id: 1002, gateway: GATEWAY6, ...OURS }, "replace"),
  ],
  ["ip nexthop add id 1003 blackhole", (writer) => putNexthop(writer, { id: 1003, blackhole: true }, "add")],
  ["ip nexthop show", (writer) => dumpNexthops(writer)],
  ["ip nexthop show dev flannel.1", (writer) => dumpNexthops(writer, { oif: 7 })],
  ["ip nexthop get id 1001", (writer) => getNexthop(writer, 1001)],
  ["ip nexthop delete id 1001", (writer) => deleteNexthop(writer, 1001)],
];

describe("requests for nexthops are those of iproute2", () => {
  test.each(requests)("%s", (command, write) => expectSameRequest(command, write));
});

test("decodeNexthop reads gateways of both families, a blackhole and a group", () => {
  const plain = { kind: "nexthop", oif: 7, scope: RT_SCOPE_LINK, blackhole: false, fdb: false, group: undefined };
  const none = { oif: undefined, gateway: undefined, flags: 0, protocol: 0, scope: 0 };
  expect(decoded("ip nexthop show", decodeNexthop)).toStrictEqual([
    { ...plain, id: 1001, family: "ipv4", gateway: GATEWAY, flags: RTNH_F_ONLINK, protocol: 70 },
    { ...plain, id: 1002, family: "ipv6", gateway: GATEWAY6, flags: RTNH_F_ONLINK, protocol: 70 },
    { ...plain, ...none, id: 1003, family: "ipv4", blackhole: true },
    { ...plain, id: 1004, family: "ipv4", gateway: "10.5.3.0", flags: RTNH_F_ONLINK, protocol: 0 },
    {
      ...plain,
      ...none,
      id: 1005,
      family: undefined,
      group: [
        { id: 1001, weight: 3 },
        { id: 1004, weight: 5 },
      ],
    },
  ]);
});
