// The reachability matrix as text: rows send, columns answer, one table per address family.

import { FAMILIES, type Family } from "../../ip/family.ts";
import { line, paint, type Terminal, tableLines } from "../terminal.ts";
import { isComplete, type PairResult } from "./ping.ts";

const FAMILY_NAME: Record<Family, string> = { ipv4: "IPv4", ipv6: "IPv6" };

export interface MatrixSummary {
  readonly ok: boolean;
  readonly pairs: number;
  readonly reached: number;
}

/** A matrix of no pairs proves nothing, so it is not ok. */
export function summarize(results: readonly PairResult[]): MatrixSummary {
  const reached = results.filter(isComplete).length;
  return { ok: results.length > 0 && reached === results.length, pairs: results.length, reached };
}

export function matrixLines(results: readonly PairResult[], terminal: Pick<Terminal, "colours">): string[] {
  return FAMILIES.flatMap((family) => {
    const ofFamily = results.filter((result) => result.family === family);
    return ofFamily.length === 0 ? [] : familyLines(family, ofFamily, terminal);
  });
}

function familyLines(family: Family, results: readonly PairResult[], terminal: Pick<Terminal, "colours">): string[] {
  const names = [...new Set(results.flatMap((result) => [result.from, result.to]))];
  const cells = new Map(results.map((result) => [`${result.from} ${result.to}`, cellOf(result, terminal)]));
  const head = [`${FAMILY_NAME[family]} ms`, ...names];
  const rows = names.map((from) => [from, ...names.map((to) => cells.get(`${from} ${to}`) ?? "-")]);
  return tableLines([head, ...rows], new Set(names.map((_, i) => i + 1)));
}

function cellOf(result: PairResult, terminal: Pick<Terminal, "colours">): string {
  if (isComplete(result)) return paint(terminal, "green", (result.rttMs ?? 0).toFixed(2));
  const lost = `lost ${result.sent - result.received}/${result.sent}`;
  return paint(terminal, result.received > 0 ? "yellow" : "red", lost);
}

/** Prints the matrix and one line that says what it comes to. */
export function printMatrix(results: readonly PairResult[], terminal: Terminal): MatrixSummary {
  for (const text of matrixLines(results, terminal)) line(terminal, text);
  const summary = summarize(results);
  const text = `${summary.reached} of ${summary.pairs} pairs reach each other`;
  line(terminal, paint(terminal, summary.ok ? "green" : "red", text));
  return summary;
}
