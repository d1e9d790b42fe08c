// Lengths of time as options of flannelctl take them: 24h, 90m, 30s.

import { InvalidArgumentError } from "commander";

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Milliseconds; more than none. */
export function durationMs(text: string): number {
  const ms = ageMs(text);
  if (ms > 0) return ms;
  throw new InvalidArgumentError("want a time such as 24h, 90m or 30s");
}

/** Milliseconds; "0s" for any age. */
export function ageMs(text: string): number {
  const [, digits, unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (digits !== undefined) return Number(digits) * (UNIT_SECONDS[unit] ?? 0) * 1_000;
  throw new InvalidArgumentError("want a time such as 24h, 90m or 30s");
}
