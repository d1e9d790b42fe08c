// The whole packet path against itself and against rubbish: what is cut on one side and put together on the other is what it was, and no bytes, however wrong,
// make it throw or look beyond them (they lie at the end of memory, where a byte too many is a RangeError or a trap).

import { describe, expect, test } from "bun:test";
import { createCoalescer, framesOf } from "../../test/fixtures/packets/frames.ts";
import {
  ACK,
  headerLength,
  headerSum,
  PSH,
  randomBytes,
  randomNumbers,
  tcpPacket,
  transportSum,
  udpPacket,
  vnetHeader,
  withPartialChecksum,
} from "../../test/fixtures/packets/packets.ts";
import { writeBurst } from "./burst.ts";
import { createFrame, prepareFrame, readFrame } from "./frame.ts";
import { IcmpError, writeIcmpError } from "./icmp_error.ts";
import { createPacketMemory, type PacketMemory } from "./memory.ts";
import { VERDICT_NAMES, Verdict } from "./verdict.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const MTU = 1472;
const KINDS = ["simd", "plain"] as const;

/** The inner packets of a frame, as they would be sent. */
function packetsOf(memory: PacketMemory, bytes: Bytes): Bytes[] {
  const frame = createFrame();
  memory.bytes.set(bytes, 0);
  expect(readFrame(memory, 0, bytes.length, MTU, frame)).toBe(Verdict.good);
  expect(prepareFrame(memory, frame)).toBe(Verdict.good);
  if (frame.segmentSize === 0) return [memory.bytes.slice(frame.packet, frame.packet + frame.length)];
  const packets: Bytes[] = [];
  while (frame.left > 0) {
    const length = writeBurst(memory, frame, 200_000, 100_000);
    for (let at = 0; at < length; at += frame.segmentSize)
      packets.push(memory.bytes.slice(200_000 + at, 200_000 + Math.min(at + frame.segmentSize, length)));
  }
  return packets;
}

describe.each(KINDS)("there and back (%s)", (kind) => {
  test("large frames of several flows, their packets mixed, come out as they went in, but for two from the TTL", () => {
    const random = randomNumbers(5);
    const memory = createPacketMemory(4 << 20, kind);
    const coalescer = createCoalescer(memory, 4096);
    for (let round = 0; round < 60; round++) {
      const flows = Array.from({ length: 1 + Math.floor(random() * 8) }, (_, sourcePort) => {
        const tcp = random() < 0.6;
        const size = 1 + Math.floor(random() * 1390);
        const payload = randomBytes(random, 1 + Math.floor(random() * Math.min(60_000, size * 64)));
        const options = { sourcePort, payload, sequence: Math.floor(random() * 2 ** 32), flags: ACK | PSH };
        const packet = (ttl: number, flags = ACK | PSH) =>
          tcp
            ? [...vnetHeader(1, 1, 52, size, 20, 16), ...withPartialChecksum(tcpPacket({ ...options, ttl, flags }), 16)]
            : [...vnetHeader(1, 5, 28, size, 20, 6), ...withPartialChecksum(udpPacket({ ...options, ttl }), 6)];
        const count = Math.ceil(payload.length / size);
        return { tcp, payload, count, sent: Uint8Array.from(packet(64)), want: Uint8Array.from(packet(62)) };
      });
      const queues = flows.map((flow) => packetsOf(memory, flow.sent));
      expect(queues.map((queue) => queue.length)).toEqual(flows.map((flow) => flow.count));
      coalescer.begin();
      let at = 0;
      while (queues.some((queue) => queue.length > 0)) {
        const packet = queues[Math.floor(random() * queues.length)]?.shift();
        if (packet === undefined) continue;
        memory.bytes.set(packet, at);
        expect(coalescer.add(at, packet.length)).toBe(Verdict.good);
        at += packet.length;
      }
      coalescer.finish();
      const frames = framesOf(memory, coalescer);
      expect(frames).toHaveLength(flows.length);
      for (const [i, flow] of flows.entries()) {
        const frame = frames.find((bytes) => ((bytes[30] ?? 0) << 8) + (bytes[31] ?? 0) === i) as Bytes;
        if (flow.count > 1) {
          expect(Buffer.compare(frame, flow.want)).toBe(0);
        } else {
          expect(frame.subarray(0, 10)).toEqual(vnetHeader());
          expect([headerSum(frame.subarray(10)), transportSum(frame.subarray(10))]).toEqual([0xffff, 0xffff]);
          expect(Buffer.compare(frame.subarray(flow.tcp ? 62 : 38), flow.payload)).toBe(0);
        }
      }
    }
  });

  test("a large frame that is taken apart again is the packets that it was made of", () => {
    const random = randomNumbers(6);
    const memory = createPacketMemory(4 << 20, kind);
    const coalescer = createCoalescer(memory, 256);
    for (let round = 0; round < 100; round++) {
      const size = 1 + Math.floor(random() * 1000);
      const payload = randomBytes(random, size * (2 + Math.floor(random() * 20)));
      const sent = Array.from({ length: payload.length / size }, (_, id) =>
        tcpPacket({ id, sequence: 5 + id * size, payload: payload.subarray(id * size, (id + 1) * size), ttl: 9 }),
      );
      coalescer.begin();
      for (const [i, packet] of sent.entries()) {
        memory.bytes.set(packet, i * 1500);
        coalescer.add(i * 1500, packet.length);
      }
      coalescer.finish();
      const [frame] = framesOf(memory, coalescer) as [Bytes];
      expect(coalescer.count).toBe(1);
      const want = sent.map((packet, id) => {
        expect(headerLength(packet)).toBe(20);
        return tcpPacket({ id, sequence: 5 + id * size, payload: packet.slice(52), ttl: 7 });
      });
      expect(packetsOf(memory, frame)).toEqual(want);
    }
  });
});

/** Frames to be mutated: one of each sort that there is. */
function specimens(random: () => number): Bytes[] {
  const payload = randomBytes(random, 300);
  const tcp = tcpPacket({ payload });
  const udp = udpPacket({ payload });
  return [
    Uint8Array.from([...vnetHeader(), ...tcp]),
    Uint8Array.from([...vnetHeader(), ...udp]),
    Uint8Array.from([...vnetHeader(1, 0, 0, 0, 20, 16), ...withPartialChecksum(tcp, 16)]),
    Uint8Array.from([...vnetHeader(1, 1, 52, 100, 20, 16), ...withPartialChecksum(tcp, 16)]),
    Uint8Array.from([...vnetHeader(1, 5, 28, 100, 20, 6), ...withPartialChecksum(udp, 6)]),
    Uint8Array.from([...vnetHeader(), ...tcpPacket({ payload, options: [1, 1, 1, 0], fragment: 0x2000 })]),
  ];
}

/** Flips bytes, cuts the end off, and half the time makes the header checksum right again, so that what comes behind it is reached. */
function mutate(specimen: Bytes, random: () => number): Bytes {
  const bytes = specimen.slice(0, random() < 0.3 ? Math.floor(random() * specimen.length) : specimen.length);
  for (let flips = Math.floor(random() * 4); flips > 0; flips--) {
    // Headers more often than data.
    bytes[Math.floor(random() * (random() < 0.8 ? 62 : bytes.length))] = Math.floor(random() * 256);
  }
  const packet = bytes.subarray(10);
  if (random() < 0.7 && packet.length >= 20) {
    if (random() < 0.5) packet.set([packet.length >> 8, packet.length & 0xff], 2);
    packet.set([0, 0], 10);
    const sum = headerSum(packet) ^ 0xffff;
    packet.set([sum >> 8, sum & 0xff], 10);
  }
  return bytes;
}

describe.each(KINDS)("200,000 frames of rubbish (%s)", (kind) => {
  test("none throws, none is written beyond its room, every one is counted", () => {
    const random = randomNumbers(7);
    const memory = createPacketMemory(1 << 20, kind);
    const end = memory.bytes.length;
    const ROUND = 500;
    const room = 4000;
    const target = 1000;
    const sides = {
      sent: new Array<number>(VERDICT_NAMES.length).fill(0),
      received: new Array<number>(VERDICT_NAMES.length).fill(0),
    };
    const count = (counters: number[], verdict: Verdict) => {
      counters[verdict] = (counters[verdict] ?? 0) + 1;
    };
    // Packets come in rounds, and each also alone at the end of memory.
    const coalescer = createCoalescer(memory, ROUND, "tcp and udp", 600_000);
    const alone = createCoalescer(memory, 1, "tcp and udp", 700_000);
    const frame = createFrame();
    let passed = 0;
    for (let round = 0; round < 400; round++) {
      const all = specimens(random);
      coalescer.begin();
      let at = 20_000;
      for (let i = 0; i < ROUND; i++) {
        const specimen = all[Math.floor(random() * all.length)] as Bytes;
        const bytes = random() < 0.1 ? randomBytes(random, Math.floor(random() * 100)) : mutate(specimen, random);
        const packet = bytes.subarray(10);
        memory.bytes.set(packet, end - packet.length);
        alone.begin();
        alone.add(end - packet.length, packet.length);
        alone.finish();
        memory.bytes.set(packet, at);
        count(sides.received, coalescer.add(at, packet.length));
        at += packet.length;
      }
      passed += coalescer.finish() + coalescer.merged;
      framesOf(memory, coalescer);
      for (let i = 0; i < ROUND; i++) {
        const bytes = mutate(all[Math.floor(random() * all.length)] as Bytes, random);
        const offset = end - bytes.length;
        memory.bytes.set(bytes, offset);
        let verdict: Verdict = readFrame(memory, offset, bytes.length, MTU, frame);
        if (verdict === Verdict.good) {
          writeIcmpError(memory, IcmpError.netUnreachable, frame.packet, 1, target);
          verdict = prepareFrame(memory, frame);
        }
        count(sides.sent, verdict);
        if (verdict !== Verdict.good) continue;
        memory.bytes.fill(0xee, target + room, target + room + 2000);
        while (frame.left > 0) {
          const length = writeBurst(memory, frame, target, room);
          if (length <= 0 || length > room) throw new Error(`a burst of ${length}`);
        }
        if (memory.bytes[target + room] !== 0xee) throw new Error("written beyond the room");
      }
    }
    expect(sides.received.reduce((a, b) => a + b)).toBe(200_000);
    expect(sides.sent.reduce((a, b) => a + b)).toBe(200_000);
    expect(sides.received[Verdict.good]).toBe(passed);
    // Each reason that a side has came up.
    const seen = (counters: number[]) => VERDICT_NAMES.filter((_, verdict) => (counters[verdict] ?? 0) > 0);
    expect(seen(sides.received)).toEqual(VERDICT_NAMES.slice(0, Verdict.offload));
    expect(seen(sides.sent)).toEqual(VERDICT_NAMES.slice(0, Verdict.tooLarge));
  });
});
