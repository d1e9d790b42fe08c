import { describe, expect, test } from "bun:test";
import { captured, decoded, expectSameRequest } from "../../test/fixtures/netlink/captured.ts";
import type { Address } from "../ip/address.ts";
import type { Mac } from "../ip/mac.ts";
import { decodeFdb, decodeFdbNotification, deleteFdb, dumpFdb, putFdb } from "./fdb.ts";
import { MessageReader } from "./message.ts";
import {
  decodeNeighbour,
  deleteNeighbour,
  dumpNeighbours,
  NTF_SELF,
  NUD_NOARP,
  NUD_PERMANENT,
  putNeighbour,
} from "./neighbour.ts";
import type { MessageWriter } from "./writer.ts";

const GATEWAY = "10.5.2.0" as Address;
const GATEWAY6 = "fd00:5:2::" as Address;
const MAC = "3e:00:00:00:00:02" as Mac;
const ZERO_MAC = "00:00:00:00:00:00" as Mac;
const DST = "192.0.2.2" as Address;

const requests: [string, (writer: MessageWriter) => void][] = [
  [
    "ip neighbour replace 10.5.2.0 lladdr 3e:00:00:00:00:02 dev flannel.1 nud permanent",
    (writer) => putNeighbour(writer, { index: 7, address: GATEWAY, mac: MAC }, "replace"),
  ],
  [
    "ip neighbour replace fd00:5:2:: lladdr 3e:00:00:00:00:02 dev flannel.1 nud permanent",
    (writer) => putNeighbour(writer, { index: 7, address: GATEWAY6, mac: MAC }, "replace"),
  ],
  ["ip neighbour delete 10.5.2.0 dev flannel.1", (writer) => deleteNeighbour(writer, { index: 7, address: GATEWAY })],
  ["ip neighbour show dev flannel.1 nud all", (writer) => dumpNeighbours(writer, { index: 7 })],
  [
    "bridge fdb replace 3e:00:00:00:00:02 dev flannel.1 dst 192.0.2.2 self permanent",
    (writer) => putFdb(writer, { index: 7, mac: MAC, dst: DST }, "replace"),
  ],
  [
    "bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 192.0.2.3 port 4789 vni 5 via eth0 self permanent",
    (writer) =>
      putFdb(
        writer,
        { index: 7, mac: ZERO_MAC, dst: "192.0.2.3" as Address, port: 4789, vni: 5, viaIndex: 3 },
        "append",
      ),
  ],
  [
    "bridge fdb delete 3e:00:00:00:00:02 dev flannel.1 dst 192.0.2.2 self",
    (writer) => deleteFdb(writer, { index: 7, mac: MAC, dst: DST }),
  ],
  ["bridge fdb show dev flannel.1", (writer) => dumpFdb(writer, { index: 7 })],
];

describe("requests for neighbours and FDB entries are those of iproute2", () => {
  test.each(requests)("%s", (command, write) => expectSameRequest(command, write));
});

test("decodeNeighbour reads permanent entries and the kernel's own for multicast", () => {
  const permanent = { kind: "neighbour", index: 7, mac: MAC, state: NUD_PERMANENT, flags: 0 };
  const found = decoded("ip neighbour show dev flannel.1 nud all", decodeNeighbour);
  expect(found).toContainEqual({ ...permanent, address: GATEWAY });
  expect(found).toContainEqual({ ...permanent, address: GATEWAY6 });
  const multicast = { ...permanent, address: "ff02::16", mac: "33:33:00:00:00:16", state: NUD_NOARP };
  expect(found).toContainEqual(multicast);
});

test("decodeFdb reads what differs from the device's own options, and nothing where nothing does", () => {
  const plain = { kind: "fdb", index: 7, flags: NTF_SELF, state: NUD_PERMANENT | NUD_NOARP };
  const absent = { port: undefined, vni: undefined, viaIndex: undefined, nexthopId: undefined };
  const noBridge = { masterIndex: undefined, vlan: undefined };
  expect(decoded("bridge fdb show dev flannel.1", decodeFdb)).toStrictEqual([
    { ...plain, mac: ZERO_MAC, dst: "192.0.2.3", ...absent, port: 4789, vni: 5, viaIndex: 3, ...noBridge },
    { ...plain, mac: MAC, dst: DST, ...absent, ...noBridge },
  ]);
});

test("decodeFdbNotification takes the device's news, and not what Linux 6.1 says once more without a destination", () => {
  // Captured on Linux 6.1 after: bridge fdb replace 3e:00:00:00:00:02 dev flannel.1 dst 192.0.2.2 self permanent
  const full =
    "440000001c0000000000000000000000 0700000002000000c0000201 0a0002003e00000000020000 08000100c0000202 1400030000000000000000000000000000000000";
  const bare = "280000001c0000000000000000000000 0700000002000000c0000200 0a0002003e00000000020000";
  const [first, second] = [full, bare].map((hex) => {
    const message = new MessageReader(Uint8Array.fromHex(hex.replaceAll(" ", "")));
    expect(message.next()).toBe(true);
    return decodeFdbNotification(message);
  });
  expect(first).toMatchObject({ kind: "fdb", index: 2, mac: MAC, dst: DST, state: NUD_PERMANENT | NUD_NOARP });
  expect(second).toBeUndefined();
});

test("decodeNeighbour takes no FDB entry, decodeFdb no neighbour", () => {
  expect(captured("bridge fdb show dev flannel.1").received).toHaveLength(2);
  expect(decoded("bridge fdb show dev flannel.1", decodeNeighbour)).toEqual([undefined, undefined]);
  expect(decoded("ip neighbour show dev flannel.1 nud all", decodeFdb).every((entry) => entry === undefined)).toBe(
    true,
  );
});
