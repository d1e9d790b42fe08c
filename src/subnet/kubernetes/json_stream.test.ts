import { describe, expect, test } from "bun:test";
import { JsonItems, JsonLines } from "./json_stream.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** `text` in pieces of `size` bytes. */
function* pieces(text: string, size: number): Generator<Uint8Array, void, undefined> {
  const all = bytes(text);
  for (let from = 0; from < all.length; from += size) yield all.slice(from, from + size);
}

const ITEMS = [
  { metadata: { name: "a", annotations: { odd: 'quotes " and \\ and ]}{[ and "items":[' } }, spec: {} },
  { metadata: { name: "ü€" }, list: [[], [{}], { items: [1] }] },
  {},
];
const LIST = {
  kind: "NodeList",
  metadata: { resourceVersion: "42", odd: '\\"items\\":[' },
  items: ITEMS,
  tail: [1, { items: [] }],
};

describe("JsonItems", () => {
  for (const size of [1, 2, 3, 7, 16, 64, 100_000]) {
    for (const indent of [0, 2]) {
      test(`takes items from pieces of ${size} bytes, indented by ${indent}`, () => {
        const stream = new JsonItems();
        const taken: unknown[] = [];
        for (const piece of pieces(JSON.stringify(LIST, undefined, indent), size)) taken.push(...stream.take(piece));
        expect(taken).toEqual(ITEMS);
        expect(stream.rest()).toEqual({ ...LIST, items: [] });
      });
    }
  }

  test("takes a list without items", () => {
    const stream = new JsonItems();
    expect([...stream.take(bytes('{"items":[],"metadata":{"resourceVersion":"1"}}\n'))]).toEqual([]);
    expect(stream.rest()).toEqual({ items: [], metadata: { resourceVersion: "1" } });
  });

  test("tells an answer that was cut off", () => {
    const stream = new JsonItems();
    const text = JSON.stringify(LIST);
    for (const piece of pieces(text.slice(0, -20), 11)) for (const _ of stream.take(piece));
    expect(() => stream.rest()).toThrow(SyntaxError);
  });
});

describe("JsonLines", () => {
  for (const size of [1, 5, 1000]) {
    test(`takes values from pieces of ${size} bytes`, () => {
      const lines = new JsonLines();
      const taken: unknown[] = [];
      for (const piece of pieces('{"a":1}\n\n{"b":"x\\ny"}\n{"c"', size)) taken.push(...lines.take(piece));
      expect(taken).toEqual([{ a: 1 }, { b: "x\ny" }]);
    });
  }

  test("does not gather a line without an end for ever", () => {
    const lines = new JsonLines();
    const megabyte = bytes("x".repeat(1 << 20));
    expect(() => {
      for (let n = 0; n < 10; n++) for (const _ of lines.take(megabyte));
    }).toThrow("more than 4194304 bytes");
  });
});
