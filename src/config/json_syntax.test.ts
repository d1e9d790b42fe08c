import { describe, expect, test } from "bun:test";
import type { ConfigError } from "./fault.ts";
import { parseJson } from "./json_syntax.ts";

const VALUE = "a value: an object, a list, text in double quotes, a number, true, false or null";
const QUOTE = "the closing double quote of this text in the same line";
const ESCAPE = 'an escape of JSON: \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0000';

describe("parseJson points at", () => {
  test.each([
    ["a comma before the end", '{\n  "a": 1,\n}', 3, 1, '"}"', "a key in double quotes"],
    ["a comma left out", '{\n  "a": 1\n  "b": 2\n}', 3, 3, '"\\"b\\": 2"', '"," or "}"'],
    ["a colon left out", '{"a" 1}', 1, 6, '"1}"', '":"'],
    ["single quotes", "{'a': 1}", 1, 2, "\"'a': 1}\"", "a key in double quotes"],
    ["a comment", '{"a": 1} // x', 1, 10, '"// x"', "nothing after the value"],
    ["a list that does not end", "[1, 2", 1, 6, "the end of the text", '"," or "]"'],
    ["a list without a value", "[1,,2]", 1, 4, '",2]"', VALUE],
    ["text that does not end", '{"a": "x\n}', 1, 7, '"\\"x"', QUOTE],
    ["text that ends with the file", '{"a": "x', 1, 7, '"\\"x"', QUOTE],
    ["a key that does not end", '{"a: 1\n}', 1, 2, '"\\"a: 1"', QUOTE],
    ["an escape that is none", '{"a": "C:\\dir"}', 1, 10, '"\\\\dir\\"}"', ESCAPE],
    ["a tab in a text", '{"a": "x\ty"}', 1, 9, '"\\ty\\"}"', "no control character in a text"],
    ["a word", '{"a": yes}', 1, 7, '"yes}"', VALUE],
    ["a leading zero", "[010]", 1, 2, '"010]"', VALUE],
    ["nothing", "", 1, 1, "the end of the text", VALUE],
    ["nothing but lines", "\n\n", 3, 1, "the end of the text", VALUE],
    ["a long line", `[1 ${"x".repeat(100)}]`, 1, 4, `"${"x".repeat(40)}"`, '"," or "]"'],
  ])("%s", (_, text, line, column, got, want) => {
    expect(() => parseJson(text, "f")).toThrow(`f, line ${line}, column ${column}: got ${got}, want ${want}`);
  });
});

test.each([
  ['{\n\t"ST": "Tokyo,\n\t"L": "Chuo"\n}', ['\t"ST": "Tokyo,', "\t      ^"]],
  [`["${"x".repeat(200)}" 1${"0".repeat(200)}]`, [`${"x".repeat(68)}" 1${"0".repeat(39)}`, `${" ".repeat(70)}^`]],
  ["", ["", "^"]],
])("the line is shown with a caret below: %j", (text, excerpt) => {
  let thrown: unknown;
  try {
    parseJson(text, "f");
  } catch (error) {
    thrown = error;
  }
  expect((thrown as ConfigError).faults[0]?.excerpt).toEqual(excerpt);
});

test("every text that JSON.parse refuses is pointed into, and every other is parsed", () => {
  const good = '{"a": [1, -2.5e+3, true, null, "x\\u00e9\\n"], "b": {}, "c": []}';
  for (let at = 0; at < good.length; at++) {
    for (const text of [
      good.slice(0, at),
      good.slice(0, at) + good.slice(at + 1),
      `${good.slice(0, at)}?${good.slice(at)}`,
    ]) {
      let parsed: unknown;
      try {
        parsed = JSON.parse(text);
      } catch {
        expect(() => parseJson(text, "f")).toThrow(/^f, line 1, column \d+: got .*, want (?!JSON$)/);
        continue;
      }
      expect(parseJson(text, "f")).toEqual(parsed);
    }
  }
});

test("nesting does not overflow the stack", () => {
  expect(() => parseJson("[".repeat(100_000), "f")).toThrow("want at most 500 levels");
});
