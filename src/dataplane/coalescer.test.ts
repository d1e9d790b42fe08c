import { describe, expect, test } from "bun:test";
import { createCoalescer, framesOf } from "../../test/fixtures/packets/frames.ts";
import {
  ACK,
  ipv4Packet,
  PSH,
  randomBytes,
  randomNumbers,
  type TcpOptions,
  TIMESTAMP,
  tcpPacket,
  type UdpOptions,
  udpPacket,
  vnetHeader,
  withPartialChecksum,
} from "../../test/fixtures/packets/packets.ts";
import type { Coalescer } from "./coalescer.ts";
import { createPacketMemory } from "./memory.ts";
import { VERDICT_NAMES, Verdict } from "./verdict.ts";

type Packet = Uint8Array<ArrayBuffer>;

const memory = createPacketMemory(1 << 20);
const coalescer = createCoalescer(memory, 256);

/** One round of these packets, each where a datagram might be. */
function coalesce(packets: readonly Packet[], into: Coalescer = coalescer): Packet[] {
  into.begin();
  let at = 0;
  for (const packet of packets) {
    memory.bytes.set(packet, at);
    expect(VERDICT_NAMES[into.add(at, packet.length)]).toBe("good");
    at += packet.length;
  }
  expect(into.finish()).toBe(into.count);
  return framesOf(memory, into);
}

const data = (length: number) => randomBytes(randomNumbers(length), length);
/** As it leaves when nothing joined it: with TTL 63 where it came with 64, complete. */
const single = (packet: Packet): Packet => Uint8Array.from([...vnetHeader(), ...packet]);

function large(options: TcpOptions, size: number): Packet {
  const packet = withPartialChecksum(tcpPacket({ ...options, ttl: 63 }), 16);
  return Uint8Array.from([
    ...vnetHeader(1, 1, 20 + 20 + (options.tcpOptions ?? TIMESTAMP).length, size, 20, 16),
    ...packet,
  ]);
}

function largeUdp(options: UdpOptions, size: number): Packet {
  const packet = withPartialChecksum(udpPacket({ ...options, ttl: 63 }), 6);
  return Uint8Array.from([...vnetHeader(1, 5, 28, size, 20, 6), ...packet]);
}

/** Segments of `payload` in packets of `size`. */
function segments(payload: Packet, size: number, options: TcpOptions = {}): Packet[] {
  const first = options.sequence ?? 1000;
  return Array.from({ length: Math.ceil(payload.length / size) }, (_, i) =>
    tcpPacket({
      ...options,
      id: (options.id ?? 0) + i,
      sequence: (first + i * size) >>> 0,
      payload: payload.subarray(i * size, (i + 1) * size),
    }),
  );
}

describe("the coalescer puts together", () => {
  test("segments that follow each other, up to the shorter one", () => {
    const frames = coalesce(segments(data(4500), 1000));
    expect(frames).toEqual([large({ payload: data(4500) }, 1000)]);
    expect(coalescer.merged).toBe(4);
  });

  test("across the end of the sequence's numbers", () => {
    const options = { sequence: 0xffff_ffff };
    expect(coalesce(segments(data(300), 100, options))).toEqual([large({ ...options, payload: data(300) }, 100)]);
  });

  test("two packets without TCP options, of one byte each", () => {
    const options = { tcpOptions: [] };
    expect(coalesce(segments(data(2), 1, options))).toEqual([large({ ...options, payload: data(2) }, 1)]);
  });

  test("up to PSH, which the large packet keeps", () => {
    const [a, b, c] = segments(data(300), 100) as [Packet, Packet, Packet];
    const pushed = tcpPacket({ id: 1, sequence: 1100, payload: data(300).subarray(100, 200), flags: ACK | PSH });
    expect(coalesce([a, pushed, c])).toEqual([
      large({ payload: data(300).subarray(0, 200), flags: ACK | PSH }, 100),
      single(tcpPacket({ id: 2, sequence: 1200, payload: data(300).subarray(200), ttl: 63 })),
    ]);
    expect(coalesce([a, b, c])).toHaveLength(1);
  });

  test("up to 65,535 bytes", () => {
    const frames = coalesce(segments(data(66_000), 1000));
    expect(frames.map((frame) => frame.length - 10)).toEqual([65_052, 1052]);
  });

  test("several flows that take turns, in the order of their first packets", () => {
    const flows = [0, 1, 2, 3].map((i) => ({
      sourcePort: 40_000 + i,
      source: [10, 244, 1, i],
      payload: data(500 + i),
    }));
    const packets = flows.map((flow) => segments(flow.payload, 100, flow));
    const turns = packets[0]?.flatMap((_, i) => packets.flatMap((flow) => flow[i] ?? [])) ?? [];
    const rest = packets.flatMap((flow) => flow.slice(packets[0]?.length));
    expect(coalesce([...turns, ...rest])).toEqual(flows.map((flow) => large(flow, 100)));
  });

  test("any identification with DF, without DF one that counts up", () => {
    const [a, b] = [0, 1].map((i) => ({
      sequence: 1000 + 100 * i,
      payload: data(200).subarray(100 * i, 100 * i + 100),
    }));
    const pair = (id: number, fragment: number) =>
      coalesce([tcpPacket({ ...a, id: 0xffff, fragment }), tcpPacket({ ...b, id, fragment })]).length;
    expect([pair(0xffff, 0x4000), pair(5, 0x4000), pair(0, 0), pair(0xffff, 0), pair(5, 0)]).toEqual([1, 1, 1, 2, 2]);
  });

  test("UDP datagrams of one flow and length, if the device takes them", () => {
    const packets = [0, 1, 2].map((i) => udpPacket({ id: i, payload: data(250).subarray(i * 100, i * 100 + 100) }));
    expect(coalesce(packets)).toEqual([largeUdp({ payload: data(250) }, 100)]);
    expect(coalesce(packets, createCoalescer(memory, 256, "tcp"))).toHaveLength(3);
  });

  test("nothing for a device without virtio headers, which then stand before no packet", () => {
    const tcp = segments(data(300), 100);
    const udp = [0, 1].map((id) => udpPacket({ id, payload: data(10) }));
    const packets = coalesce([...tcp, ...udp], createCoalescer(memory, 256, "packets"));
    expect(packets).toEqual([
      ...segments(data(300), 100, { ttl: 63 }),
      ...udp.map((_, id) => udpPacket({ id, payload: data(10), ttl: 63 })),
    ]);
  });

  test("64 UDP datagrams at most", () => {
    const packets = Array.from({ length: 100 }, (_, id) => udpPacket({ id, payload: data(10) }));
    expect(coalesce(packets).map((frame) => frame.length - 38)).toEqual([640, 360]);
  });
});

describe("the coalescer leaves alone", () => {
  const one = { payload: data(200).subarray(0, 100) };
  const two = { sequence: 1100, payload: data(200).subarray(100) };
  test.each<[string, TcpOptions]>([
    ["a gap", { ...two, sequence: 1101 }],
    ["an overlap", { ...two, sequence: 1099 }],
    ["another acknowledgement", { ...two, acknowledgement: 78 }],
    ["another window", { ...two, window: 502 }],
    ["another timestamp", { ...two, tcpOptions: TIMESTAMP.with(7, 9) }],
    ["other options", { ...two, tcpOptions: [] }],
    ["another TTL", { ...two, ttl: 60 }],
    ["another TOS", { ...two, tos: 2 }],
    ["no DF", { ...two, fragment: 0 }],
    ["a larger segment", { ...two, payload: data(101) }],
    ["FIN", { ...two, flags: ACK | 0x01 }],
    ["SYN", { ...two, flags: ACK | 0x02 }],
    ["RST", { ...two, flags: ACK | 0x04 }],
    ["URG", { ...two, flags: ACK | 0x20 }],
    ["ECE", { ...two, flags: ACK | 0x40 }],
    ["CWR", { ...two, flags: ACK | 0x80 }],
    ["no ACK", { ...two, flags: 0 }],
    ["no data", { ...two, payload: data(0) }],
    ["IPv4 options", { ...two, options: [1, 1, 1, 1] }],
    ["a fragment", { ...two, fragment: 0x6000 }],
  ])("%s, and what would have joined before it stays behind it", (_, options) => {
    const third = { ...two, payload: data(50) };
    const ttl = (options.ttl ?? 64) - 1;
    const frames = coalesce([tcpPacket(one), tcpPacket(options), tcpPacket(third)]);
    expect(frames.slice(0, 2)).toEqual([
      single(tcpPacket({ ...one, ttl: 63 })),
      single(tcpPacket({ ...options, ttl })),
    ]);
    expect(frames[2]).toEqual(single(tcpPacket({ ...third, ttl: 63 })));
    expect(coalescer.unverified).toBe(0);
  });

  test.each<[string, TcpOptions]>([
    ["port", { ...two, sourcePort: 40_001 }],
    ["source", { ...two, source: [10, 244, 1, 9] }],
    ["destination", { ...two, destination: [10, 244, 2, 9] }],
  ])("another flow, by its %s, which hinders nothing", (_, options) => {
    expect(coalesce([tcpPacket(one), tcpPacket(options), tcpPacket(two)])).toEqual([
      large({ payload: data(200) }, 100),
      single(tcpPacket({ ...options, ttl: 63 })),
    ]);
  });

  test("UDP of the same addresses and ports", () => {
    const udp = udpPacket({ payload: data(100) });
    expect(coalesce([tcpPacket(one), udp, tcpPacket(two), udp])).toHaveLength(2);
  });

  test("what comes after PSH", () => {
    const pushed = { ...one, flags: ACK | PSH };
    expect(coalesce([tcpPacket(pushed), tcpPacket(two)])).toHaveLength(2);
  });

  test("what comes after a shorter segment", () => {
    expect(coalesce(segments(data(250), 100).concat(tcpPacket({ sequence: 1250, payload: data(50) })))).toHaveLength(2);
  });

  test("everything that is neither TCP nor UDP, as it is", () => {
    const packets = [1, 2, 47, 50, 132].map((protocol) => ipv4Packet({ protocol, body: data(40) }));
    const again = [...packets, ...packets];
    const want = [1, 2, 47, 50, 132].map((protocol) => single(ipv4Packet({ protocol, body: data(40), ttl: 63 })));
    expect(coalesce(again)).toEqual([...want, ...want]);
  });

  test("UDP without a checksum", () => {
    const packets = [0, 1].map((id) => udpPacket({ id, payload: data(10) }));
    for (const packet of packets) packet.fill(0, 26, 28);
    expect(coalesce(packets)).toHaveLength(2);
  });

  test("UDP whose length is not the packet's", () => {
    const bodies = [0, 1].map((id) =>
      ipv4Packet({ id, protocol: 17, body: Uint8Array.of(1, 1, 1, 1, 0, 9, 1, 1, 7, 8) }),
    );
    expect(coalesce(bodies)).toHaveLength(2);
  });

  test.each([
    ["the first", 0, [1, 2], 1],
    ["the second", 1, [1, 1, 1], 1],
    ["the last", 2, [2, 1], 1],
  ])("a wrong TCP checksum, passed on as it came: %s", (_, wrong, counts, unverified) => {
    const packets = segments(data(300), 100);
    const bad = packets[wrong] as Packet;
    bad[bad.length - 1] = (bad.at(-1) ?? 0) ^ 1;
    const frames = coalesce(packets);
    expect(frames.map((frame) => (frame.length - 10 - 52) / 100)).toEqual(counts);
    expect(coalescer.unverified).toBe(unverified);
    const alone = frames[Math.min(wrong, frames.length - 1)] as Packet;
    expect(alone.subarray(0, 10)).toEqual(vnetHeader());
    expect(alone.subarray(10 + 20)).toEqual(bad.subarray(20));
  });
});

describe("Coalescer.add", () => {
  test("trims what follows a packet", () => {
    const packet = udpPacket({ payload: data(20) });
    expect(coalesce([Uint8Array.from([...packet, 1, 2, 3])])).toEqual([
      single(udpPacket({ payload: data(20), ttl: 63 })),
    ]);
  });

  test.each<[keyof typeof Verdict, Packet]>([
    ["short", new Uint8Array(19)],
    ["version", new Uint8Array(40)],
    ["expired", tcpPacket({ ttl: 1 })],
    ["expired", tcpPacket({ ttl: 0 })],
  ])("says %s and adds nothing", (verdict, packet) => {
    coalescer.begin();
    memory.bytes.set(packet, 0);
    expect(VERDICT_NAMES[coalescer.add(0, packet.length)]).toBe(verdict);
    expect(coalescer.finish()).toBe(0);
  });

  test("says full, leaves the packet as it is, and takes it in the next round", () => {
    const small = createCoalescer(memory, 2);
    const packet = udpPacket({});
    small.begin();
    for (const at of [0, 100, 200]) memory.bytes.set(packet, at);
    expect([small.add(0, packet.length), small.add(100, packet.length)]).toEqual([Verdict.good, Verdict.good]);
    expect(small.add(200, packet.length)).toBe(Verdict.full);
    expect(memory.bytes.slice(200, 200 + packet.length)).toEqual(packet);
    expect(small.finish()).toBe(2);
    small.begin();
    expect(small.add(200, packet.length)).toBe(Verdict.good);
    expect(small.finish()).toBe(1);
    expect(framesOf(memory, small)).toEqual([single(udpPacket({ ttl: 63 }))]);
  });
});
