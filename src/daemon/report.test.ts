import { expect, test } from "bun:test";
import { createLog } from "./log.ts";
import { RefusalLog } from "./report.ts";

test("RefusalLog says what is refused once, a new reason once a minute at most, and when it is over", () => {
  let now = 0;
  let said: string[] = [];
  const log = new RefusalLog(
    createLog(0, (text) => void said.push(text.replace(/^.*\] /, "").trim())),
    () => now,
  );
  const steps: [number, Record<string, string>, string[]][] = [
    [0, { a: "bad" }, ["refusing the lease a: bad"]],
    [1, { a: "bad", b: "bad" }, ["refusing the lease b: bad"]],
    [2, { a: "worse", b: "bad" }, []],
    [59_999, { a: "worst", b: "bad" }, []],
    [60_000, { a: "worst", b: "bad" }, ["refusing the lease a: worst"]],
    [90_000, { a: "worst" }, ["the lease b is refused no more"]],
    [90_001, { a: "worst", b: "bad" }, ["refusing the lease b: bad"]],
  ];
  for (const [at, refused, expected] of steps) {
    now = at;
    said = [];
    log.update(new Map(Object.entries(refused)));
    expect([at, said]).toEqual([at, expected]);
  }
});
