// Log lines in the form of klog, which collectors of Kubernetes logs know: severity, date, time, pid, source], text.

import { writeSync } from "node:fs";
import { localTime } from "../sys/libc.ts";

export type Severity = "I" | "W" | "E";

export interface Log {
  info(text: string): void;
  warn(text: string): void;
  error(text: string): void;
  /** Only with -v of this level or more. */
  detail(level: number, text: string): void;
}

/** A log to standard error. Text of several lines is several lines, each with its header. */
export function createLog(verbosity: number, write = writeToStandardError): Log {
  const line = (severity: Severity, text: string) => {
    const header = `${severity}${stamp(Date.now())} ${String(process.pid).padStart(7)} flanneld] `;
    write(
      `${text
        .split("\n")
        .map((part) => header + part)
        .join("\n")}\n`,
    );
  };
  return {
    info: (text) => line("I", text),
    warn: (text) => line("W", text),
    error: (text) => line("E", text),
    detail: (level, text) => {
      if (verbosity >= level) line("I", text);
    },
  };
}

/**
 * At once and whole: what is logged just before the end is not lost in a queue, and process.stderr, a stream, costs 4
 * MiB. A log that nobody reads must not stop the network.
 */
function writeToStandardError(text: string): void {
  const bytes = Buffer.from(text);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(2, bytes, at);
  } catch {
    // EPIPE, EAGAIN: there is nobody to tell
  }
}

/** 1122 16:03:25.123000, local time. */
function stamp(ms: number): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const { month, day, hours, minutes, seconds } = localTime(Math.floor(ms / 1000));
  const time = [hours, minutes, seconds].map(two).join(":");
  return `${two(month)}${two(day)} ${time}.${String(ms % 1000).padStart(3, "0")}000`;
}
