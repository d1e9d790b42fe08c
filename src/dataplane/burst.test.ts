import { describe, expect, test } from "bun:test";
import {
  ACK,
  headerLength,
  headerSum,
  ipv4Packet,
  PSH,
  randomBytes,
  randomNumbers,
  tcpPacket,
  transportSum,
  udpPacket,
  vnetHeader,
  withPartialChecksum,
} from "../../test/fixtures/packets/packets.ts";
import { BURST_BYTES, BURST_SEGMENTS, writeBurst } from "./burst.ts";
import { createFrame, prepareFrame, readFrame } from "./frame.ts";
import { createPacketMemory, type PacketMemory } from "./memory.ts";
import { VERDICT_NAMES, Verdict } from "./verdict.ts";

const MTU = 1472;
const FRAME = 1000;
const TARGET = 100_000;
const TCP = 1;
const UDP = 5;
const ECN = 0x80;
const FIN = 0x01;
const CWR = 0x80;

function largeTcp(size: number, options: Parameters<typeof tcpPacket>[0], type = TCP): Uint8Array<ArrayBuffer> {
  const packet = tcpPacket(options);
  const header = 20 + (options.options?.length ?? 0);
  return Uint8Array.from([...vnetHeader(1, type, 52, size, header, 16), ...withPartialChecksum(packet, 16)]);
}

function largeUdp(size: number, options: Parameters<typeof udpPacket>[0]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([...vnetHeader(1, UDP, 28, size, 20, 6), ...withPartialChecksum(udpPacket(options), 6)]);
}

/** Every burst of a frame as its packets. */
function segment(memory: PacketMemory, bytes: Uint8Array, room = 1 << 20, mtu = MTU): Uint8Array[][] {
  const frame = createFrame();
  memory.bytes.set(bytes, FRAME);
  expect(VERDICT_NAMES[readFrame(memory, FRAME, bytes.length, mtu, frame)]).toBe("good");
  expect(Buffer.compare(memory.bytes.subarray(FRAME, FRAME + bytes.length), bytes)).toBe(0);
  expect(VERDICT_NAMES[prepareFrame(memory, frame)]).toBe("good");
  if (frame.segmentSize === 0) return [[memory.bytes.slice(frame.packet, frame.packet + frame.length)]];
  const bursts: Uint8Array[][] = [];
  while (frame.left > 0) {
    const length = writeBurst(memory, frame, TARGET, room);
    expect(length).toBeGreaterThan(0);
    const burst: Uint8Array[] = [];
    for (let at = 0; at < length; at += frame.segmentSize)
      burst.push(memory.bytes.slice(TARGET + at, TARGET + Math.min(at + frame.segmentSize, length)));
    bursts.push(burst);
  }
  return bursts;
}

const sizes = (packets: readonly Uint8Array[]) => packets.map((packet) => packet.length);
const payload = (length: number) => randomBytes(randomNumbers(length), length);

describe.each(["simd", "plain"] as const)("writeBurst (%s)", (kind) => {
  const memory = createPacketMemory(1 << 20, kind);

  test("cuts TCP: sequence and identification count up, FIN and PSH on the last, CWR on the first", () => {
    const data = payload(3000);
    const options = { payload: data, id: 0xffff, sequence: 0xffff_ff00, flags: ACK | PSH | FIN | CWR, tos: 3 };
    const [burst = []] = segment(memory, largeTcp(1400, options, TCP | ECN));
    const want = [0, 1400, 2800].map((from, i) =>
      tcpPacket({
        ...options,
        ttl: 63,
        payload: data.subarray(from, from + 1400),
        id: (0xffff + i) & 0xffff,
        sequence: (0xffff_ff00 + from) >>> 0,
        flags: [ACK | CWR, ACK, ACK | PSH | FIN][i] ?? 0,
      }),
    );
    expect(burst).toEqual(want);
  });

  test("cuts UDP into datagrams of their own length", () => {
    const data = payload(250);
    const [burst = []] = segment(memory, largeUdp(100, { payload: data, id: 7, ttl: 2 }));
    const want = [0, 100, 200].map((from, i) =>
      udpPacket({ payload: data.subarray(from, from + 100), id: 7 + i, ttl: 1 }),
    );
    expect(burst).toEqual(want);
  });

  test("keeps IPv4 and TCP options in every segment", () => {
    const options = { options: [1, 1, 1, 1], tcpOptions: [], payload: payload(20) };
    const [burst = []] = segment(memory, largeTcp(10, options));
    const want = [0, 10].map((from, i) =>
      tcpPacket({
        ...options,
        ttl: 63,
        payload: options.payload.subarray(from, from + 10),
        id: i,
        sequence: 1000 + from,
      }),
    );
    expect(burst).toEqual(want);
  });

  test("a frame that is no longer than a segment is one packet", () => {
    const [burst = []] = segment(memory, largeTcp(1400, { payload: payload(5), flags: ACK | PSH }));
    expect(burst).toEqual([tcpPacket({ payload: payload(5), flags: ACK | PSH, ttl: 63 })]);
  });

  test.each([
    ["64 packets", 100, 13_000, 1 << 20],
    ["65,507 bytes", 1400, 65_000, 1 << 20],
    ["the room", 1000, 10_000, 3500],
  ])("ends a burst at %s, and goes on with the next", (_, size, length, room) => {
    const data = payload(length);
    const bursts = segment(memory, largeTcp(size, { payload: data }), room);
    const each = Math.min(BURST_SEGMENTS, Math.floor(Math.min(BURST_BYTES, room) / (size + 52)));
    expect(bursts.slice(0, -1).map((burst) => burst.length)).toEqual(bursts.slice(1).map(() => each));
    expect(bursts.length).toBeGreaterThan(1);
    const packets = bursts.flat();
    expect(sizes(packets).slice(0, -1)).toEqual(packets.slice(1).map(() => size + 52));
    expect(packets).toEqual(
      packets.map((_, i) =>
        tcpPacket({ payload: data.subarray(i * size, (i + 1) * size), id: i, sequence: 1000 + i * size, ttl: 63 }),
      ),
    );
  });

  test("writes nothing where no packet fits", () => {
    const frame = createFrame();
    const bytes = largeTcp(1000, { payload: payload(2500) });
    memory.bytes.set(bytes, FRAME);
    readFrame(memory, FRAME, bytes.length, MTU, frame);
    prepareFrame(memory, frame);
    expect(writeBurst(memory, frame, TARGET, 1051)).toBe(0);
    expect(frame.left).toBe(2500);
    expect(writeBurst(memory, frame, TARGET, 1052)).toBe(1052);
    expect(frame.left).toBe(1500);
  });

  test.each<[string, Uint8Array, number, number, Uint8Array]>([
    ["TCP", tcpPacket({ payload: payload(11) }), 20, 16, tcpPacket({ payload: payload(11), ttl: 63 })],
    ["UDP", udpPacket({ payload: payload(12) }), 20, 6, udpPacket({ payload: payload(12), ttl: 63 })],
  ])("prepareFrame completes the checksum of one packet of %s", (_, packet, start, offset, want) => {
    const bytes = [...vnetHeader(1, 0, 0, 0, start, offset), ...withPartialChecksum(packet, offset)];
    expect(segment(memory, Uint8Array.from(bytes))).toEqual([[want]]);
  });

  test("prepareFrame leaves a complete packet as it is but for the TTL, and what stands behind it away", () => {
    const bytes = [...vnetHeader(), ...udpPacket({ payload: payload(12) }), 1, 2, 3];
    expect(segment(memory, Uint8Array.from(bytes))).toEqual([[udpPacket({ payload: payload(12), ttl: 63 })]]);
  });

  test("a UDP checksum that comes to 0 is written as 0xffff", () => {
    // The last word is chosen so that the sum is 0xffff without the checksum.
    const wanted = udpPacket({ payload: Uint8Array.from([0, 0]), ttl: 63 });
    const complement = new DataView(wanted.buffer).getUint16(26);
    const data = Uint8Array.from([complement >> 8, complement & 0xff]);
    const packet = udpPacket({ payload: data });
    expect(packet.slice(26, 28)).toEqual(Uint8Array.of(0xff, 0xff));
    const large = largeUdp(2, { payload: Uint8Array.from([...data, 5, 5]) });
    expect(segment(memory, large)[0]?.[0]?.slice(26, 28)).toEqual(Uint8Array.of(0xff, 0xff));
    const single = [...vnetHeader(1, 0, 0, 0, 20, 6), ...withPartialChecksum(packet, 6)];
    expect(segment(memory, Uint8Array.from(single))[0]?.[0]?.slice(26, 28)).toEqual(Uint8Array.of(0xff, 0xff));
  });

  test("any frame: packets are whole, and hold the payload", () => {
    const random = randomNumbers(3);
    for (let round = 0; round < 200; round++) {
      const tcp = random() < 0.5;
      const size = 1 + Math.floor(random() * (random() < 0.2 ? 20 : 1390));
      const data = randomBytes(random, 1 + Math.floor(random() * Math.min(65_000, size * 100)));
      const options = { payload: data, id: random() * 65_536, sequence: random() * 2 ** 32, tos: random() * 256 };
      const packets = segment(memory, tcp ? largeTcp(size, options) : largeUdp(size, options)).flat();
      for (const packet of packets) {
        if (headerSum(packet) !== 0xffff || transportSum(packet) !== 0xffff)
          throw new Error(`round ${round}: checksum`);
      }
      const got = Buffer.concat(packets.map((packet) => packet.subarray(headerLength(packet) + (tcp ? 32 : 8))));
      expect(got.equals(data)).toBe(true);
    }
  });
});

describe("readFrame refuses", () => {
  const memory = createPacketMemory(1 << 20);
  const tcp = tcpPacket({ payload: payload(100) });
  const udp = udpPacket({ payload: payload(100) });
  const shortTcp = tcpPacket({ payload: payload(100) });
  shortTcp[32] = 0x40;
  const longTcp = tcpPacket({ payload: payload(4) });
  longTcp[32] = 0xf0;

  test.each<[string, Uint8Array, Uint8Array, keyof typeof Verdict]>([
    ["less than both headers", vnetHeader(), tcp.subarray(0, 19), "short"],
    ["IPv6", vnetHeader(), Uint8Array.from([0x60, ...tcp.subarray(1)]), "version"],
    ["IPv6's large packets", vnetHeader(1, 4, 0, 10), tcp, "offload"],
    ["fragmentation offload, which is not asked for", vnetHeader(1, 3, 0, 10), udp, "offload"],
    ["segments of nothing", vnetHeader(1, TCP, 52, 0), tcp, "offload"],
    ["TCP that is UDP", vnetHeader(1, TCP, 52, 10), udp, "offload"],
    ["UDP that is TCP", vnetHeader(1, UDP, 28, 10), tcp, "offload"],
    ["a fragment", vnetHeader(1, TCP, 52, 10), tcpPacket({ payload: payload(100), fragment: 0x2000 }), "offload"],
    ["a TCP header of 16 bytes", vnetHeader(1, TCP, 52, 10), shortTcp, "offload"],
    ["a TCP header beyond the packet", vnetHeader(1, TCP, 52, 10), longTcp, "offload"],
    ["TCP of 19 bytes", vnetHeader(1, TCP, 52, 10), ipv4Packet({ body: payload(19) }), "offload"],
    ["UDP of 7 bytes", vnetHeader(1, UDP, 28, 10), ipv4Packet({ protocol: 17, body: payload(7) }), "offload"],
    ["TCP without data", vnetHeader(1, TCP, 52, 10), tcpPacket({}), "offload"],
    ["a checksum within the IPv4 header", vnetHeader(1, 0, 0, 0, 10, 6), tcp, "offload"],
    ["a checksum beyond the packet", vnetHeader(1, 0, 0, 0, 20, 131), tcp, "offload"],
    ["a checksum far beyond the packet", vnetHeader(1, 0, 0, 0, 0xffff, 0xffff), tcp, "offload"],
    ["a packet above the MTU", vnetHeader(), udpPacket({ payload: payload(1445) }), "tooLarge"],
    ["segments above the MTU", vnetHeader(1, TCP, 52, 1421), tcpPacket({ payload: payload(3000) }), "tooLarge"],
  ])("%s", (_, header, packet, want) => {
    const at = memory.bytes.length - header.length - packet.length;
    memory.bytes.set(header, at);
    memory.bytes.set(packet, at + header.length);
    const verdict = readFrame(memory, at, header.length + packet.length, MTU, createFrame());
    expect(VERDICT_NAMES[verdict]).toBe(want);
  });

  test.each([0, 1])("nothing for a TTL of %d, which prepareFrame then refuses, leaving the packet as it was", (ttl) => {
    const bytes = largeTcp(100, { payload: payload(500), ttl });
    const frame = createFrame();
    memory.bytes.set(bytes, FRAME);
    expect(readFrame(memory, FRAME, bytes.length, MTU, frame)).toBe(Verdict.good);
    expect(prepareFrame(memory, frame)).toBe(Verdict.expired);
    expect(memory.bytes.slice(FRAME, FRAME + bytes.length)).toEqual(bytes);
  });

  test("readFrame tells the destination as an unsigned number", () => {
    const frame = createFrame();
    const bytes = Uint8Array.from([...vnetHeader(), ...udpPacket({ destination: [192, 168, 1, 255] })]);
    memory.bytes.set(bytes, FRAME);
    expect(readFrame(memory, FRAME, bytes.length, MTU, frame)).toBe(Verdict.good);
    expect(frame.destination).toBe(0xc0a801ff);
  });
});
