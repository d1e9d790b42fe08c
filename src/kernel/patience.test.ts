import { expect, test } from "bun:test";
import type { ObjectKey } from "../state/object.ts";
import { Patience } from "./patience.ts";

const KEY = "route 10.5.2.0/24" as ObjectKey;

function patience() {
  const clock = { ms: 0 };
  return {
    clock,
    patience: new Patience({ firstMs: 1_000, maxMs: 60_000, repairs: 5, windowMs: 60_000, now: () => clock.ms }),
  };
}

test("Patience doubles the wait after each failure, from 1 s to 60 s", () => {
  const { clock, patience: subject } = patience();
  const waits: (number | undefined)[] = [];
  for (let i = 0; i < 8; i++) {
    subject.trouble(KEY, new Error("no"));
    expect(subject.allows(KEY)).toBe(false);
    const wait = subject.nextDueMs() ?? 0;
    waits.push(wait / 1_000);
    clock.ms += wait;
    expect(subject.due()).toEqual([KEY]);
  }
  expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
});

test("Patience takes five repairs a minute as drift, more as a fight with growing waits, and forgives after a quiet minute", () => {
  const { clock, patience: subject } = patience();
  const waits: number[] = [];
  for (let i = 0; i < 9; i++) {
    if (subject.repairIsFight(KEY)) {
      subject.trouble(KEY, new Error("undone"), true);
      const wait = subject.nextDueMs() ?? 0;
      waits.push(wait / 1_000);
      clock.ms += wait;
      subject.settle(KEY);
    } else expect(i).toBeLessThan(5);
  }
  expect(waits).toEqual([1, 2, 4, 8]);
  clock.ms += 200_000;
  expect(subject.repairIsFight(KEY)).toBe(false);
});

test("Patience retries all failures at once when told, but no fights", () => {
  const { patience: subject } = patience();
  const other = "route 10.5.3.0/24" as ObjectKey;
  subject.trouble(KEY, new Error("no"));
  subject.trouble(other, new Error("undone"), true);
  subject.retryAll();
  expect(subject.due()).toEqual([KEY]);
  expect(subject.nextDueMs()).toBe(0);
});
