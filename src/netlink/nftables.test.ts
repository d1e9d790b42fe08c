import { expect, test } from "bun:test";
import { MessageReader } from "./message.ts";
import { decodeTableName, dumpTables } from "./nftables.ts";
import { MessageWriter } from "./writer.ts";

/** As strace shows them. */
const bytes = (...rows: readonly string[]) => Buffer.from(rows.join("").replaceAll(" ", ""), "hex");

test("tables are asked for as `nft list tables` asks", () => {
  const writer = new MessageWriter();
  dumpTables(writer);
  writer.stamp(0, 0, 0);
  expect(Buffer.from(writer.bytes)).toEqual(bytes("14000000 010a 0103 00000000 00000000", "00000000"));
});

test.each<[string, Buffer, string | undefined]>([
  [
    "the answer to `nft list tables`",
    bytes(
      "44000000 000a 0200 00000000 ea130000 02000003",
      "1100 0100 666c616e6e656c2d6970763400 000000",
      "0800 0300 00000001 0c00 0400 0000000000000001 0800 0200 00000000",
    ),
    "flannel-ipv4",
  ],
  [
    "heard of `nft add rule ip flannel-ipv4 forward accept`",
    bytes(
      "74000000 060a 000c 01000000 f2130000 02000004",
      "1100 0100 666c616e6e656c2d6970763400 000000",
      "0c00 0200 666f727761726400 0c00 0300 0000000000000002",
      "3400 0400 3000 0100 0e00 0100 696d6d656469617465000000",
      "1c00 0200 0800 0100 00000000 1000 0200 0c00 0200 0800 0100 00000001",
    ),
    "flannel-ipv4",
  ],
  [
    "the generation that follows it",
    bytes("2c000000 0f0a 0000 01000000 f2130000 00000004", "0800 0100 00000004 0800 0200 000013f2 0800 0300 6e667400"),
    undefined,
  ],
])("the table that a message is about: %s", (_title, datagram, name) => {
  const message = new MessageReader(datagram);
  expect(message.next()).toBe(true);
  expect(decodeTableName(message)).toBe(name);
});
