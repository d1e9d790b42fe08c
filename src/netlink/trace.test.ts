import { expect, test } from "bun:test";
import { captured } from "../../test/fixtures/netlink/captured.ts";
import { netlinkTrace, traceLines } from "./trace.ts";

test("traceLines names each message and shows its bytes", () => {
  const { sent, received } = captured("ip nexthop get id 1001");
  const line = (bytes: readonly Uint8Array[]) =>
    traceLines(Buffer.concat(bytes)).map((text) => text.replace(/ seq .* pid \d+/, ""));
  expect(line(sent)).toEqual(["RTM_GETNEXTHOP flags 0x1 00 00 00 00 00 00 00 00 08 00 01 00 e9 03 00 00"]);
  expect(line(received)).toEqual([
    "RTM_NEWNEXTHOP flags 0x0 02 fd 46 00 04 00 00 00 08 00 01 00 e9 03 00 00 08 00 05 00 07 00 00 00 08 00 06 00 0a 05 02 00",
  ]);
});

test.each([
  [undefined, false],
  ["", false],
  ["http", false],
  ["netlink", true],
  ["http,netlink", true],
])("netlinkTrace(%p) is on: %p", (words, on) => {
  expect(netlinkTrace(words) !== undefined).toBe(on);
});
