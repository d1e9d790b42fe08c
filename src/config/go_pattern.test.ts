import { expect, test } from "bun:test";
import { compileGoPattern } from "./go_pattern.ts";

test.each([
  ["eth", "veth0", true],
  ["^eth[0-9]+$", "eth10", true],
  ["^eth[0-9]+$", "veth10", false],
  ["(?i)^ETH", "eth0", true],
  ["[[:digit:]]$", "eth0", true],
  ["^[[:alpha:]_]+$", "br_lan", true],
  ["eth\\-0", "eth-0", true],
  ["^[a-z\\-]+$", "br-lan", true],
  ["10\\.0\\.", "10.0.1.1", true],
  ["10\\.0\\.", "10a0b", false],
  ["\\Aeth0\\z", "eth0", true],
  ["\\Aeth0\\z", "eth01", false],
  ["(?P<kind>en|eth)\\d", "en1", true],
  ["a{1,2}b", "aab", true],
])("%s on %s: %p", (pattern, name, matches) => {
  expect(compileGoPattern(pattern)?.test(name)).toBe(matches);
});

test.each(["(", "[", "*", "\\Qa\\E", "[[:nonsense:]]\\y", "a(?i)b"])("%s does not compile", (pattern) => {
  expect(compileGoPattern(pattern)).toBeUndefined();
});
