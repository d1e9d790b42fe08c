import { describe, expect, test } from "bun:test";
import {
  headerSum,
  ipv4Packet,
  naiveSum,
  type PacketOptions,
  randomBytes,
  randomNumbers,
  tcpPacket,
  udpPacket,
} from "../../test/fixtures/packets/packets.ts";
import { ICMP_ERROR_ROOM, IcmpError, writeIcmpError } from "./icmp_error.ts";
import { createPacketMemory } from "./memory.ts";

const memory = createPacketMemory(65_536);
const GATEWAY = 0x0af40100;

/** The frame that is written about a packet at the end of memory. */
function errorAbout(packet: Uint8Array, error: IcmpError = IcmpError.netUnreachable): Uint8Array {
  const at = memory.bytes.length - packet.length;
  memory.bytes.fill(0xee, 0, 2000);
  memory.bytes.set(packet, at);
  const length = writeIcmpError(memory, error, at, GATEWAY, 100);
  expect(memory.bytes.subarray(100 + length, 2000).every((byte) => byte === 0xee)).toBe(true);
  return memory.bytes.slice(100, 100 + length);
}

const icmp = (type: number, options: PacketOptions = {}) =>
  ipv4Packet({ ...options, protocol: 1, body: Uint8Array.from([type, 0, 0, 0, 0, 0, 0, 0]) });

describe("writeIcmpError", () => {
  test("says net unreachable (type 3 code 0) to the source, with the packet's beginning, byte for byte", () => {
    const packet = udpPacket({
      source: [10, 244, 1, 2],
      destination: [10, 244, 9, 9],
      payload: Uint8Array.of(1, 2, 3, 4),
    });
    // virtio header; IPv4 of 60 bytes, TOS c0, DF, TTL 64, ICMP, 10.244.1.0 to 10.244.1.2; type 3 code 0.
    const header = "00000000000000000000 45c0003c0000400040012218 0af40100 0af40102 0300";
    const frame = errorAbout(packet).toHex();
    expect(frame.slice(0, 64)).toBe(header.replaceAll(" ", ""));
    expect(frame.slice(68)).toBe(`00000000${packet.toHex()}`);
  });

  test.each([
    ["netUnreachable", 3],
    ["ttlExceeded", 11],
  ] as const)("%s: both checksums are right at every length, and 576 bytes are the most", (name, type) => {
    const random = randomNumbers(4);
    for (let length = 0; length < 1400; length += 7) {
      const packet = udpPacket({ payload: randomBytes(random, length), ttl: 1 });
      const frame = errorAbout(packet, IcmpError[name]);
      const error = frame.subarray(10);
      expect(frame.length).toBe(Math.min(10 + 28 + packet.length, ICMP_ERROR_ROOM));
      expect([error[20], error[21]]).toEqual([type, 0]);
      expect(headerSum(error)).toBe(0xffff);
      expect(naiveSum(error.subarray(20))).toBe(0xffff);
    }
  });

  test.each<[string, Uint8Array]>([
    ["the first fragment", udpPacket({ fragment: 0x2000 })],
    ["TCP", tcpPacket({})],
    ["echo", icmp(8)],
    ["echo reply", icmp(0)],
    ["a packet of its header alone", ipv4Packet({ protocol: 50 })],
    ["options", ipv4Packet({ options: new Array(40).fill(1) })],
  ])("answers %s", (_, packet) => {
    expect(errorAbout(packet).length).toBeGreaterThan(0);
  });

  test.each<[string, Uint8Array]>([
    ["destination unreachable", icmp(3)],
    ["source quench", icmp(4)],
    ["redirect", icmp(5)],
    ["time exceeded", icmp(11)],
    ["parameter problem", icmp(12)],
    ["unknown ICMP", icmp(40)],
    ["ICMP without a type", ipv4Packet({ protocol: 1 })],
    ["a later fragment", udpPacket({ fragment: 0x2001 })],
    ["the last fragment", udpPacket({ fragment: 0x0001 })],
    ["multicast", udpPacket({ destination: [224, 0, 0, 1] })],
    ["broadcast", udpPacket({ destination: [255, 255, 255, 255] })],
    ["no source", udpPacket({ source: [0, 0, 0, 0] })],
    ["a loopback source", udpPacket({ source: [127, 0, 0, 1] })],
    ["a multicast source", udpPacket({ source: [239, 1, 1, 1] })],
    ["a broadcast source", udpPacket({ source: [255, 255, 255, 255] })],
  ])("does not answer %s", (_, packet) => {
    expect(errorAbout(packet)).toEqual(new Uint8Array(0));
  });
});
