import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dropStartupCode } from "./memory.ts";

/** KiB of file pages that this process has resident. */
const filePages = () => Number(/^RssFile:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);

test("dropStartupCode() unmaps code, and the program goes on", () => {
  const before = filePages();
  dropStartupCode();
  expect(filePages()).toBeLessThan(before);
  expect([3, 1, 2].toSorted().join()).toBe("1,2,3");
});
