import { describe, expect, test } from "bun:test";
import {
  headerSum,
  ipv4Packet,
  randomBytes,
  randomNumbers,
  tcpPacket,
  udpPacket,
} from "../../test/fixtures/packets/packets.ts";
import { decrementTtl, inspectPacket, isTransportIntact } from "./ipv4.ts";
import { createPacketMemory } from "./memory.ts";
import { VERDICT_NAMES, Verdict } from "./verdict.ts";

/** RFC 1071's checksum in a header that stands in many textbooks: 45 00 00 73 … b8 61 … c0 a8 00 01 c0 a8 00 c7. */
const KNOWN = "450000730000400040 11b861 c0a80001c0a800c7".replaceAll(" ", "");

const memory = createPacketMemory(65_536);
const END = memory.bytes.length;

/** At the very end of memory, where a byte too many does not go unnoticed. */
function place(packet: Uint8Array): number {
  memory.bytes.set(packet, END - packet.length);
  return END - packet.length;
}

function changed(offset: number, ...bytes: number[]): Uint8Array {
  const packet = ipv4Packet({ body: new Uint8Array(10) });
  packet.set(bytes, offset);
  return packet;
}

describe("inspectPacket", () => {
  test.each<[string, Uint8Array, keyof typeof Verdict]>([
    ["a whole packet", ipv4Packet({ body: new Uint8Array(10) }), "good"],
    ["a packet with 40 bytes of options", ipv4Packet({ options: new Array(40).fill(1) }), "good"],
    ["what follows the packet is not looked at", Uint8Array.from([...ipv4Packet({}), 1, 2, 3]), "good"],
    ["nothing", new Uint8Array(0), "short"],
    ["19 bytes", ipv4Packet({}).subarray(0, 19), "short"],
    ["IPv6", changed(0, 0x65), "version"],
    ["version 0", changed(0, 0x05), "version"],
    ["a header of 16 bytes", changed(0, 0x44), "headerLength"],
    ["a header beyond the packet", changed(0, 0x4f), "headerLength"],
    ["a total length below the header's", changed(2, 0, 19), "totalLength"],
    ["a total length beyond what was received", changed(2, 0, 31), "totalLength"],
    ["another destination than was summed", changed(19, 9), "headerChecksum"],
  ])("%s: %#", (_, packet, want) => {
    expect(VERDICT_NAMES[inspectPacket(memory, place(packet), packet.length)]).toBe(want);
  });

  test("takes a known header", () => {
    const packet = Uint8Array.from([...Uint8Array.fromHex(KNOWN), ...new Uint8Array(0x73 - 20)]);
    expect(inspectPacket(memory, place(packet), packet.length)).toBe(Verdict.good);
  });
});

test("decrementTtl keeps the header checksum right, and is what a fresh sum would be", () => {
  const random = randomNumbers(2);
  for (let round = 0; round < 2000; round++) {
    const options = { id: random() * 65_536, ttl: 2 + Math.floor(random() * 254), source: [...randomBytes(random, 4)] };
    const packet = ipv4Packet(options);
    const at = place(packet);
    expect(decrementTtl(memory.view, at)).toBe(true);
    expect(memory.bytes.slice(at)).toEqual(ipv4Packet({ ...options, ttl: options.ttl - 1 }));
  }
});

test.each([0, 1])("decrementTtl refuses a TTL of %d and changes nothing", (ttl) => {
  const packet = ipv4Packet({ ttl });
  const at = place(packet);
  expect(decrementTtl(memory.view, at)).toBe(false);
  expect(memory.bytes.slice(at)).toEqual(packet);
  expect(headerSum(packet)).toBe(0xffff);
});

test.each([
  ["TCP", tcpPacket({ payload: Uint8Array.from([1, 2, 3, 4, 5]) })],
  ["UDP", udpPacket({ payload: Uint8Array.from([1, 2, 3]) })],
])("isTransportIntact sees every flipped bit of %s", (_, packet) => {
  const at = place(packet);
  const header = 20;
  expect(isTransportIntact(memory, at, header, packet.length - header)).toBe(true);
  for (let bit = 12 * 8; bit < packet.length * 8; bit++) {
    const byte = at + (bit >> 3);
    memory.bytes[byte] = (memory.bytes[byte] ?? 0) ^ (1 << (bit & 7));
    expect([bit, isTransportIntact(memory, at, header, packet.length - header)]).toEqual([bit, false]);
    memory.bytes[byte] = (memory.bytes[byte] ?? 0) ^ (1 << (bit & 7));
  }
});
