import { describe, expect, test } from "bun:test";
import { captured, decoded, expectSameRequest } from "../../test/fixtures/netlink/captured.ts";
import type { Address } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import { MalformedMessage } from "./error.ts";
import { MessageReader } from "./message.ts";
import type { MessageWriter } from "./writer.ts";
import {
  decodePolicy,
  decodePolicyNotification,
  deletePolicy,
  dumpPolicies,
  putPolicy,
  type TunnelPolicy,
} from "./xfrm.ts";

const IPV4: TunnelPolicy = {
  direction: "out",
  src: "10.5.1.0/24" as Prefix,
  dst: "10.5.2.0/24" as Prefix,
  tunnel: { src: "192.0.2.1" as Address, dst: "192.0.2.2" as Address },
  reqid: 11,
};
const IPV6: TunnelPolicy = {
  direction: "fwd",
  src: "fd00:5:0:2::/64" as Prefix,
  dst: "fd00:5:0:1::/64" as Prefix,
  tunnel: { src: "2001:db8::2" as Address, dst: "2001:db8::1" as Address },
  reqid: 11,
};
const PUT4 =
  "ip xfrm policy update src 10.5.1.0/24 dst 10.5.2.0/24 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 11 mode tunnel";
const PUT6 =
  "ip xfrm policy update src fd00:5:0:2::/64 dst fd00:5:0:1::/64 dir fwd tmpl src 2001:db8::2 dst 2001:db8::1 proto esp reqid 11 mode tunnel";
const LIST = "ip xfrm policy list";

const requests: [string, (writer: MessageWriter) => void][] = [
  [PUT4, (writer) => putPolicy(writer, IPV4)],
  [PUT6, (writer) => putPolicy(writer, IPV6)],
  [LIST, dumpPolicies],
  ["ip xfrm policy delete src 10.5.1.0/24 dst 10.5.2.0/24 dir out", (writer) => deletePolicy(writer, IPV4)],
];

describe("requests for policies are those of iproute2", () => {
  test.each(requests)("%s", (command, write) => expectSameRequest(command, write));
});

test("decodePolicy reads tunnels, and nothing of policies for one protocol or without a tunnel", () => {
  expect(decoded(LIST, decodePolicy)).toEqual([undefined, undefined, IPV6, IPV4]);
});

function notification(bytes: Uint8Array) {
  const message = new MessageReader(bytes);
  expect(message.next()).toBe(true);
  return decodePolicyNotification(message);
}

test("decodePolicyNotification tells new from deleted, which carries the policy in an attribute", () => {
  const listed = captured(LIST).received.at(-1) ?? new Uint8Array();
  expect(notification(listed)).toEqual({ kind: "new", policy: IPV4 });
  // XFRM_MSG_DELPOLICY: header, struct xfrm_userpolicy_id, XFRMA_POLICY with the struct xfrm_userpolicy_info, XFRMA_TMPL and the rest as listed.
  const info = listed.subarray(16, 16 + 168);
  const rest = listed.subarray(16 + 168);
  const deleted = Buffer.concat([listed.subarray(0, 16), new Uint8Array(64), Buffer.from([172, 0, 7, 0]), info, rest]);
  deleted.writeUInt32LE(deleted.length, 0);
  deleted.writeUInt16LE(0x14, 4);
  expect(notification(deleted)).toEqual({ kind: "deleted", policy: IPV4 });
  expect(captured(LIST).received.map((each) => notification(each)?.kind)).toEqual(["another", "another", "new", "new"]);
  const flushed = Buffer.alloc(16);
  flushed.writeUInt32LE(16, 0);
  flushed.writeUInt16LE(0x1d, 4);
  expect(notification(flushed)).toEqual({ kind: "flushed" });
});

test("decodePolicy refuses a prefix longer than its family, and a message cut short", () => {
  const listed = Buffer.from(captured(LIST).received.at(-1) ?? new Uint8Array());
  listed[16 + 42] = 33;
  expect(() => notification(listed)).toThrow(MalformedMessage);
  const short = Buffer.from(listed.subarray(0, 100));
  short.writeUInt32LE(100, 0);
  expect(() => notification(short)).toThrow(MalformedMessage);
});
