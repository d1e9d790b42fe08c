import { expect, test } from "bun:test";
import { captured } from "../../test/fixtures/netlink/captured.ts";
import type { Address } from "../ip/address.ts";
import type { Mac } from "../ip/mac.ts";
import { NLM_F_ACK } from "./message.ts";
import { putNeighbour } from "./neighbour.ts";
import { MessageWriter } from "./writer.ts";

const NEIGHBOUR = { index: 7, address: "10.5.2.0" as Address, mac: "3e:00:00:00:00:02" as Mac };
const COMMAND = "ip neighbour replace 10.5.2.0 lladdr 3e:00:00:00:00:02 dev flannel.1 nud permanent";

test("MessageWriter grows, and a reused buffer leaves nothing of what it held", () => {
  const single = captured(COMMAND).sent[0] ?? new Uint8Array();
  const sequence = new DataView(single.buffer, single.byteOffset).getUint32(8, true);
  const writer = new MessageWriter(8);
  for (const round of ["first", "second"]) {
    for (let i = 0; i < 100; i++) putNeighbour(writer, NEIGHBOUR, "replace");
    for (let i = 0; i < writer.count; i++) writer.stamp(i, sequence, NLM_F_ACK);
    expect([round, writer.count]).toEqual([round, 100]);
    expect(Buffer.from(writer.bytes)).toEqual(Buffer.concat(new Array<Uint8Array>(100).fill(single)));
    writer.bytes.fill(0xff);
    writer.clear();
  }
});

test("MessageWriter knows where each message lies", () => {
  const writer = new MessageWriter();
  for (let i = 0; i < 3; i++) putNeighbour(writer, NEIGHBOUR, "add");
  expect([0, 1, 2, 3].map((index) => writer.startOf(index))).toEqual([0, 48, 96, 144]);
  expect(writer.bytesFrom(1, 3)).toBe(96);
});
