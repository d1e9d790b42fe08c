import { describe, expect, test } from "bun:test";
import { naiveSum, randomBytes, randomNumbers } from "../../test/fixtures/packets/packets.ts";
import { createPacketMemory, foldSum, hasSimd } from "./memory.ts";

const KINDS = ["simd", "plain"] as const;
const BYTES = 256 * 1024;

test("createPacketMemory takes SIMD where there is SIMD", () => {
  expect(hasSimd()).toBe(true);
  expect(createPacketMemory(1).kind).toBe("simd");
});

describe.each(KINDS)("%s", (kind) => {
  const memory = createPacketMemory(BYTES, kind);

  test("the memory is as large as was asked for, and zero", () => {
    expect(memory.kind).toBe(kind);
    expect(memory.bytes.length).toBe(BYTES);
    expect(memory.view.buffer).toBe(memory.bytes.buffer);
    expect(createPacketMemory(65_537, kind).bytes.length).toBe(131_072);
    expect(createPacketMemory(70_000, kind).bytes.every((byte) => byte === 0)).toBe(true);
  });

  test.each([
    ["RFC 1071's example", [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0xddf2],
    ["nothing", [], 0],
    ["one byte is the high one", [0xab], 0xab00],
    ["three bytes", [0x12, 0x34, 0x56], 0x6834],
    ["zeros stay 0", [0, 0, 0, 0], 0],
    ["all ones are 0xffff", [0xff, 0xff, 0xff, 0xff], 0xffff],
  ])("sum and copySum: %s", (_, bytes, want) => {
    memory.bytes.set(bytes, 1000);
    expect(memory.sum(1000, bytes.length)).toBe(want);
    expect(memory.copySum(3000, 1000, bytes.length)).toBe(want);
    expect([...memory.bytes.subarray(3000, 3000 + bytes.length)]).toEqual(bytes);
  });

  test("sum of 64 KiB of ones, the largest there is", () => {
    memory.bytes.fill(0xff, 0, 65_536);
    expect(memory.sum(0, 65_535)).toBe(naiveSum(memory.bytes.subarray(0, 65_535)));
    expect(memory.copySum(65_536, 0, 65_536)).toBe(0xffff);
  });

  test("sum and copySum are the naive sum at every length and alignment, and touch nothing else", () => {
    const random = randomNumbers(1);
    for (let round = 0; round < 3000; round++) {
      const length = Math.floor(round < 1000 ? round / 4 : random() * 3000);
      const source = Math.floor(random() * 5000);
      const target = 10_000 + Math.floor(random() * 5000);
      memory.bytes.set(randomBytes(random, length), source);
      memory.bytes.fill(0xee, target - 64, target + length + 64);
      const want = naiveSum(memory.bytes.subarray(source, source + length));
      expect(memory.sum(source, length)).toBe(want);
      expect(memory.copySum(target, source, length)).toBe(want);
      expect(
        Buffer.compare(memory.bytes.subarray(source, source + length), memory.bytes.subarray(target, target + length)),
      ).toBe(0);
      expect(memory.bytes.subarray(target - 64, target).every((byte) => byte === 0xee)).toBe(true);
      expect(memory.bytes.subarray(target + length, target + length + 64).every((byte) => byte === 0xee)).toBe(true);
    }
  });
});

test("SIMD and plain JavaScript agree on every length up to 64 KiB, at every alignment", () => {
  const [simd, plain] = KINDS.map((kind) => createPacketMemory(BYTES, kind));
  if (!simd || !plain) throw new RangeError("There are two kinds");
  const random = randomNumbers(2);
  for (const memory of [simd, plain]) memory.bytes.set(randomBytes(randomNumbers(3), 65_536 + 64));
  for (let round = 0; round < 2_000; round++) {
    const source = Math.floor(random() * 64);
    const target = 100_000 + Math.floor(random() * 64);
    const length = Math.floor(random() * 65_536);
    const sum = plain.sum(source, length);
    expect([simd.sum(source, length), simd.copySum(target, source, length)]).toEqual([sum, sum]);
    expect(plain.copySum(target, source, length)).toBe(sum);
  }
  expect(Buffer.compare(simd.bytes, plain.bytes)).toBe(0);
});

test.each([
  [0, 0],
  [0xffff, 0xffff],
  [0x1_0000, 1],
  [0x1_ffff, 1],
  [0x1_fffe, 0xffff],
  [0x7fff_ffff, 0x7fff],
])("foldSum(%d) is %d", (sum, want) => {
  expect(foldSum(sum)).toBe(want);
});
