import { describe, expect, test } from "bun:test";
import { decoded, expectSameRequest } from "../../test/fixtures/netlink/captured.ts";
import type { Prefix } from "../ip/prefix.ts";
import { addRule, decodeRule, deleteRule, dumpRules, FR_ACT_TO_TBL, type NewRule } from "./rule.ts";
import type { MessageWriter } from "./writer.ts";

const FROM: NewRule = { family: "ipv4", priority: 100, src: "10.5.1.0/24" as Prefix, table: 1000, mark: 16, mask: 255 };
const TO: NewRule = {
  family: "ipv4",
  priority: 101,
  dst: "10.5.0.0/16" as Prefix,
  table: 254,
  iifname: "eth0",
  suppressPrefixLength: 0,
  protocol: 70,
};

const requests: [string, (writer: MessageWriter) => void][] = [
  ["ip rule add from 10.5.1.0/24 fwmark 0x10/0xff lookup 1000 priority 100", (writer) => addRule(writer, FROM)],
  [
    "ip rule add to 10.5.0.0/16 lookup 254 priority 101 iif eth0 suppress_prefixlength 0 protocol 70",
    (writer) => addRule(writer, TO),
  ],
  ["ip rule show", (writer) => dumpRules(writer, "ipv4")],
  ["ip rule delete priority 100", (writer) => deleteRule(writer, { family: "ipv4", priority: 100 })],
];

describe("requests for rules are those of iproute2", () => {
  test.each(requests)("%s", (command, write) => expectSameRequest(command, write));
});

test("decodeRule reads selectors, and none where the kernel says none", () => {
  const found = decoded("ip rule show", decodeRule);
  expect(found).toMatchObject([
    { priority: 0, table: 255 },
    { ...FROM, action: FR_ACT_TO_TBL, suppressPrefixLength: undefined },
    { ...TO, action: FR_ACT_TO_TBL, src: undefined, mark: undefined },
    { priority: 32766, table: 254 },
    { priority: 32767, table: 253 },
  ]);
});
