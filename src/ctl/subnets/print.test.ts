import { expect, test } from "bun:test";
import { durationText } from "./print.ts";

test.each([
  [0, "0s"],
  [-5_000, "0s"],
  [999, "0s"],
  [59_999, "59s"],
  [60_000, "1m"],
  [86_399_000, "23h 59m"],
  [86_400_000, "1d"],
  [90_061_000, "1d 1h"],
  [86_460_000, "1d"],
  [3_605_000, "1h"],
])("durationText: %d ms is %s", (ms, text) => {
  expect(durationText(ms)).toBe(text);
});
