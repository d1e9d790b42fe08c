import { expect, test } from "bun:test";
import { isOlder } from "./resource_version.ts";

const rows: [string, string, boolean][] = [
  ["7", "8", true],
  ["8", "7", false],
  ["7", "7", false],
  ["99", "100", true],
  ["100", "99", false],
  ["0", "1", true],
  ["9007199254740993", "9007199254740992", false], // beyond 2^53
  ["9007199254740992", "9007199254740993", true],
  ["a1", "a2", false],
  ["1", "", false],
  ["", "1", false],
];
test.each(rows)("%p is older than %p: %p", (version, than, older) => {
  expect(isOlder(version, than)).toBe(older);
});
