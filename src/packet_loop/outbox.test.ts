// What the outbox sends, through the kernel's loopback and received with no grouping: whatever is put together, each packet arrives once, whole, and in its flow's order.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { createPacketMemory } from "../dataplane/memory.ts";
import { openDatagramSocket } from "../sys/datagram.ts";
import { close, getsockname, recvNow } from "../sys/libc.ts";
import { addressOf } from "../sys/packet_calls.ts";
import { Arena } from "./arena.ts";
import { Counter, newCounters } from "./counters.ts";
import { Outbox } from "./outbox.ts";
import { PeerTable } from "./peer_table.ts";

const LOOPBACK = Uint8Array.of(127, 0, 0, 1);
const LOOPBACK_NUMBER = 0x7f00_0001;
const PEERS = 3;

let sender: number;
let receivers: number[];
let peers: PeerTable;
let numbers: number[];

beforeEach(() => {
  sender = openDatagramSocket(LOOPBACK, 0, 1 << 20, "sender").fd;
  receivers = Array.from({ length: PEERS }, () => openDatagramSocket(LOOPBACK, 0, 1 << 20, "receiver").fd);
  peers = new PeerTable();
  for (const [i, fd] of receivers.entries()) {
    const port = new DataView(getsockname(fd, "receiver").slice().buffer).getUint16(2);
    peers.set({ subnet: i << 8, length: 24, address: LOOPBACK_NUMBER, port });
  }
  numbers = receivers.map((_, i) => peers.find(i << 8));
});

afterEach(() => {
  for (const fd of [sender, ...receivers]) close(fd);
});

function makeOutbox(sendsSegments: boolean, sendsMany = true) {
  const memory = createPacketMemory(1 << 20);
  const arena = new Arena(memory, addressOf(memory.bytes));
  const counters = newCounters();
  const options = { udp: sender, sendsSegments, sendsMany, longestSleepMs: 100 };
  const outbox = new Outbox(arena, options, peers, counters);
  return { memory, arena, counters, outbox, room: arena.take(512 << 10) };
}

/** Datagrams that wait at a receiver. The kernel may hand several of one size over in one piece, all of the size that the first says. */
function received(fd: number): string[] {
  const texts: string[] = [];
  const buffer = new Uint8Array(65_536);
  for (let length = recvNow(fd, buffer); length >= 0; length = recvNow(fd, buffer)) {
    texts.push(
      ...new TextDecoder()
        .decode(buffer.subarray(0, length))
        .split("|")
        .filter((text) => text !== ""),
    );
  }
  return texts.map((text) => text.replace(/\.*$/, ""));
}

/** "flow 3 packet 7" filled up to a length, with its end marked. */
function packetText(flow: number, number: number, length: number): string {
  return `${`${flow} ${number}`.padEnd(length - 1, ".")}|`;
}

test.each([
  [true, true],
  [false, true],
  [true, false],
  [false, false],
])("Outbox: every packet once and in the order of its flow; UDP_SEGMENT %p, sendmmsg %p", (segments, many) => {
  const { memory, outbox, room, counters } = makeOutbox(segments, many);
  let state = 7;
  const below = (limit: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % limit;
  };
  const expected = new Map<number, string[]>();
  let sent = 0;
  for (let round = 0; round < 30; round++) {
    let at = room;
    for (let n = 0; n < 64; n++) {
      const flow = below(12);
      const peer = flow % PEERS;
      const length = [40, 41, 100, 1_400, 20 + below(1_400)][below(5)] ?? 40;
      memory.bytes.set(new TextEncoder().encode(packetText(flow, sent, length)), at);
      if (!outbox.hasRoom) outbox.send();
      outbox.add(numbers[peer] ?? -1, at, length, flow * 0x9e37);
      expected.set(flow, [...(expected.get(flow) ?? []), `${flow} ${sent}`]);
      at += length;
      sent++;
    }
    outbox.send();
  }
  const arrived = receivers.map(received);
  for (const [flow, texts] of expected) {
    expect(arrived[flow % PEERS]?.filter((text) => text.startsWith(`${flow} `))).toEqual(texts);
  }
  expect(arrived.flat()).toHaveLength(sent);
  expect(counters[Counter.sentPackets]).toBe(sent);
  const messages = counters[Counter.sentMessages] ?? 0;
  if (segments) expect(messages).toBeLessThan(sent * 0.6);
  else expect(messages).toBe(sent);
});

test.each([true, false])(
  "Outbox: a burst is cut into its packets, the last of which may be shorter; UDP_SEGMENT %p",
  (segments) => {
    const { memory, outbox, room } = makeOutbox(segments);
    const sizes = [1_000, 1_000, 1_000, 500];
    const text = sizes.map((size, n) => packetText(0, n, size)).join("");
    memory.bytes.set(new TextEncoder().encode(text), room);
    outbox.addBurst(numbers[0] ?? -1, room, text.length, 1_000, 0);
    outbox.send();
    expect(received(receivers[0] ?? -1)).toEqual(["0 0", "0 1", "0 2", "0 3"]);
  },
);

test("Outbox: bursts of one size that lie behind each other are one message, in the order of their flows", () => {
  const { memory, outbox, room, counters } = makeOutbox(true);
  const [peer = -1, other = -1] = numbers;
  let at = room;
  let number = 0;
  const burst = (flow: number, sizes: readonly number[], to = peer) => {
    const text = sizes.map((size) => packetText(flow, number++, size)).join("");
    memory.bytes.set(new TextEncoder().encode(text), at);
    outbox.addBurst(to, at, text.length, 1_000, flow);
    at += text.length;
  };
  burst(1, [1_000, 1_000]);
  burst(2, [1_000]);
  burst(1, [1_000, 300]);
  burst(1, [1_000]); // behind a short packet there can be none
  const single = packetText(1, number++, 50);
  memory.bytes.set(new TextEncoder().encode(single), at);
  outbox.add(peer, at, single.length, 1);
  at += single.length;
  burst(1, [1_000]);
  burst(1, [1_000], other);
  outbox.send();
  expect(received(receivers[0] ?? -1)).toEqual(["1 0", "1 1", "2 2", "1 3", "1 4", "1 5", "1 6", "1 7"]);
  expect(received(receivers[1] ?? -1)).toEqual(["1 8"]);
  expect(counters[Counter.sentMessages]).toBe(5);
});

test("Outbox: what cannot be sent is counted and stops nothing", () => {
  const { memory, outbox, room, counters } = makeOutbox(true);
  // Beyond what one datagram holds.
  memory.bytes.set(new TextEncoder().encode(packetText(0, 1, 100)), room);
  peers.set({ subnet: 0x0900, length: 24, address: 0, port: 0 });
  outbox.add(peers.find(0x0900), room, 100, 1);
  outbox.add(numbers[0] ?? -1, room, 100, 2);
  outbox.send();
  expect(received(receivers[0] ?? -1)).toEqual(["0 1"]);
  expect([counters[Counter.sentPackets], counters[Counter.sendFailed]]).toEqual([1, 1]);
});
