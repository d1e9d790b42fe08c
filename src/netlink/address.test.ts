import { describe, expect, test } from "bun:test";
import { decoded, expectSameRequest } from "../../test/fixtures/netlink/captured.ts";
import type { Address } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import {
  decodeAddress,
  deleteAddress,
  dumpAddresses,
  IFA_F_NODAD,
  IFA_F_PERMANENT,
  INFINITY_LIFE_TIME,
  putAddress,
} from "./address.ts";
import { RT_SCOPE_LINK } from "./route.ts";
import type { MessageWriter } from "./writer.ts";

const prefix = (text: string) => text as Prefix;
const address = (text: string) => text as Address;

const requests: [string, (writer: MessageWriter) => void][] = [
  [
    "ip address add 10.5.1.0/32 dev flannel.1 scope link",
    (writer) => putAddress(writer, { index: 7, address: prefix("10.5.1.0/32"), scope: RT_SCOPE_LINK }, "add"),
  ],
  [
    "ip address add 10.9.0.1/24 broadcast 10.9.0.255 dev eth0",
    (writer) =>
      putAddress(writer, { index: 3, address: prefix("10.9.0.1/24"), broadcast: address("10.9.0.255") }, "add"),
  ],
  [
    "ip address add fd00:5:1::/128 dev flannel.1 nodad",
    (writer) => putAddress(writer, { index: 7, address: prefix("fd00:5:1::/128"), flags: IFA_F_NODAD }, "add"),
  ],
  [
    "ip address add 10.8.0.1 peer 10.8.0.2 dev eth0",
    (writer) => putAddress(writer, { index: 3, address: prefix("10.8.0.1/32"), peer: address("10.8.0.2") }, "add"),
  ],
  [
    "ip address delete 10.5.1.0/32 dev flannel.1",
    (writer) => deleteAddress(writer, { index: 7, address: prefix("10.5.1.0/32") }),
  ],
  ["ip address show dev eth0", (writer) => dumpAddresses(writer, { index: 3 })],
];

describe("requests for addresses are those of iproute2", () => {
  test.each(requests)("%s", (command, write) => expectSameRequest(command, write));
});

const PLAIN = {
  kind: "address",
  index: 7,
  peer: undefined,
  broadcast: undefined,
  label: undefined,
  scope: 0,
  flags: IFA_F_PERMANENT,
  validSeconds: INFINITY_LIFE_TIME,
  preferredSeconds: INFINITY_LIFE_TIME,
};

test("decodeAddress reads both families", () => {
  const found = decoded("ip address show dev flannel.1", decodeAddress);
  expect(found.slice(0, 2)).toStrictEqual([
    { ...PLAIN, address: "10.5.1.0/32", label: "flannel.1", scope: RT_SCOPE_LINK },
    { ...PLAIN, address: "fd00:5:1::/128", flags: IFA_F_PERMANENT | IFA_F_NODAD },
  ]);
});

test("decodeAddress tells a peer from the own address", () => {
  const onEth0 = { ...PLAIN, index: 3, label: "eth0" };
  expect(decoded("ip address show dev eth0", decodeAddress)).toStrictEqual([
    { ...onEth0, address: "10.9.0.1/24", broadcast: "10.9.0.255" },
    { ...onEth0, address: "10.8.0.1/32", peer: "10.8.0.2" },
  ]);
});
