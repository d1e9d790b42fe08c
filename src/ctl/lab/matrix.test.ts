import { describe, expect, test } from "bun:test";
import type { Family } from "../../ip/family.ts";
import { matrixLines, summarize } from "./matrix.ts";
import type { PairResult } from "./ping.ts";

function pair(from: string, to: string, family: Family, received: number, rttMs?: number): PairResult {
  return { from, to, family, sent: 3, received, rttMs };
}

const RESULTS = [
  pair("n1p1", "n2p1", "ipv4", 3, 0.114),
  pair("n2p1", "n1p1", "ipv4", 0),
  pair("n1p1", "n2p1", "ipv6", 2, 12.3),
  pair("n2p1", "n1p1", "ipv6", 3, 0.2),
];

describe("matrixLines", () => {
  test("matrixLines: one table per family, rows send", () => {
    expect(matrixLines(RESULTS, { colours: false })).toEqual([
      "IPv4 ms      n1p1  n2p1",
      "n1p1            -  0.11",
      "n2p1     lost 3/3     -",
      "IPv6 ms  n1p1      n2p1",
      "n1p1        -  lost 1/3",
      "n2p1     0.20         -",
    ]);
  });

  test("matrixLines: green reaches, yellow loses some, red loses all", () => {
    const text = matrixLines(RESULTS, { colours: true }).join("\n");
    expect(text).toContain("\x1b[32m0.11\x1b[39m");
    expect(text).toContain("\x1b[31mlost 3/3\x1b[39m");
    expect(text).toContain("\x1b[33mlost 1/3\x1b[39m");
  });
});

describe("summarize", () => {
  test.each([
    { name: "one lost packet is enough to fail", results: RESULTS, summary: { ok: false, pairs: 4, reached: 2 } },
    { name: "all reach", results: RESULTS.slice(0, 1), summary: { ok: true, pairs: 1, reached: 1 } },
    { name: "no pairs prove nothing", results: [], summary: { ok: false, pairs: 0, reached: 0 } },
  ])("summarize: $name", ({ results, summary }) => {
    expect(summarize(results)).toEqual(summary);
  });
});
