import { expect, test } from "bun:test";
import { lifetimeFrom, parseExpiry } from "./expiry.ts";

test.each([
  ["8760h", 31_536_000_000],
  ["365d", 31_536_000_000],
  ["1y", 31_536_000_000],
  ["1h30m10s", 5_410_000],
  ["1000y", 31_536_000_000_000],
] as const)("%s is %d ms", (text, ms) => {
  expect(parseExpiry(text)).toBe(ms);
});

test.each(["", "0h", "8760", "h", "-1h", "1.5h", "1 h", "1w", "1001y", "9999999999h"])("%j is no expiry", (text) => {
  expect(parseExpiry(text)).toBeUndefined();
});

test("a life begins five minutes ago and lasts from there", () => {
  const { notBefore, notAfter } = lifetimeFrom(new Date("2026-01-01T00:05:00Z"), 3_600_000);
  expect([notBefore, notAfter]).toEqual([new Date("2026-01-01T00:00:00Z"), new Date("2026-01-01T01:00:00Z")]);
});
