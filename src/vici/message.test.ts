import { describe, expect, test } from "bun:test";
import { decodeMessage, encodeMessage, type Section, ViciMalformed } from "./message.ts";

/** The example of strongSwan's description of the protocol, with its bytes. */
const EXAMPLE: Section = {
  key1: "value1",
  section1: { "sub-section": { key2: "value2" }, list1: ["item1", "item2"] },
};
const BYTES = Buffer.concat([
  Buffer.from([3, 4]),
  Buffer.from("key1"),
  Buffer.from([0, 6]),
  Buffer.from("value1"),
  Buffer.from([1, 8]),
  Buffer.from("section1"),
  Buffer.from([1, 11]),
  Buffer.from("sub-section"),
  Buffer.from([3, 4]),
  Buffer.from("key2"),
  Buffer.from([0, 6]),
  Buffer.from("value2"),
  Buffer.from([2]),
  Buffer.from([4, 5]),
  Buffer.from("list1"),
  Buffer.from([5, 0, 5]),
  Buffer.from("item1"),
  Buffer.from([5, 0, 5]),
  Buffer.from("item2"),
  Buffer.from([6]),
  Buffer.from([2]),
]);

test("the example of the protocol's description encodes to its bytes and back", () => {
  expect(Buffer.from(encodeMessage(EXAMPLE)).toString("hex")).toBe(BYTES.toString("hex"));
  expect(decodeMessage(BYTES)).toEqual(EXAMPLE);
});

test.each<[string, Section]>([
  ["nothing", {}],
  ["an empty value, list and section", { a: "", b: [], c: {} }],
  ["a value of two length bytes", { psk: "x".repeat(700) }],
  ["names that JavaScript has a use for", JSON.parse('{"__proto__": "a", "constructor": {"toString": "b"}}')],
])("%s goes out and comes back", (_, message) => {
  const back = decodeMessage(encodeMessage(message));
  expect(Object.entries(back)).toEqual(Object.entries(message));
});

test("what is undefined is left out", () => {
  expect(encodeMessage({ a: undefined })).toEqual(new Uint8Array());
});

test("encodeMessage refuses names and values that do not fit", () => {
  expect(() => encodeMessage({ ["n".repeat(256)]: "" })).toThrow("256 bytes");
  expect(() => encodeMessage({ "": "" })).toThrow("0 bytes");
  expect(() => encodeMessage({ a: "v".repeat(65536) })).toThrow("65535 at most");
});

describe("decodeMessage refuses", () => {
  test.each<[string, number[]]>([
    ["a section without an end", [1, 1, 97]],
    ["an end without a section", [2]],
    ["an item outside of a list", [5, 0, 1, 97]],
    ["a section inside of a list", [4, 1, 97, 1, 1, 97]],
    ["a list without an end", [4, 1, 97, 5, 0, 1, 97]],
    ["an unknown element", [9]],
    ["a value cut short", [3, 1, 97, 0, 5, 97]],
    ["sections without end in each other", Array.from({ length: 100 }, () => [1, 1, 97]).flat()],
  ])("%s", (_, bytes) => {
    expect(() => decodeMessage(Uint8Array.from(bytes))).toThrow(ViciMalformed);
  });

  test("every message cut short, but at the end of an element of the outermost section", () => {
    const whole = new Set([0, 14]);
    for (let length = 0; length < BYTES.length; length++) {
      const cut = () => decodeMessage(BYTES.subarray(0, length));
      if (whole.has(length)) expect(cut()).toEqual(length === 0 ? {} : { key1: "value1" });
      else expect(cut).toThrow(ViciMalformed);
    }
  });
});
