// Processes that a lab started, told apart from strangers: a pid alone may have been given to somebody else since, a
// pid with its start time is one process for good. Authority: proc(5), /proc/<pid>/stat.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export interface ProcessId {
  readonly pid: number;
  /** Clock ticks since boot: field 22 of /proc/<pid>/stat. */
  readonly startTime: number;
}

/**
 * State letter and start time; the command's name (field 2) may hold blanks and parentheses, so fields count from its
 * last ")".
 */
export function parseStat(text: string): { state: string; startTime: number } | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const startTime = Number(fields[22 - 3]);
  return fields[0] && Number.isSafeInteger(startTime) ? { state: fields[0], startTime } : undefined;
}

function statOf(pid: number) {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return undefined;
  }
}

/** The process that has `pid` now; undefined when there is none, or only what waits to be reaped. */
export function identify(pid: number): ProcessId | undefined {
  const stat = statOf(pid);
  return stat && stat.state !== "Z" && stat.state !== "X" ? { pid, startTime: stat.startTime } : undefined;
}

export function isAlive(process: ProcessId): boolean {
  return identify(process.pid)?.startTime === process.startTime;
}

/** Identity of a namespace: device and inode of its nsfs file, the same from every path that leads to it. */
export type NamespaceId = string & { readonly __brand: "NamespaceId" };

/** undefined when the file is gone. */
export function namespaceId(path: string): NamespaceId | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}` as NamespaceId;
  } catch {
    return undefined;
  }
}

export function allPids(): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid));
}

/** Every process that lives in one of the network namespaces, this one excluded. */
export function processesIn(namespaces: ReadonlySet<NamespaceId>): ProcessId[] {
  if (namespaces.size === 0) return [];
  return allPids().flatMap((pid) => {
    const id = namespaceId(`/proc/${pid}/ns/net`);
    const found = id && namespaces.has(id) && pid !== process.pid ? identify(pid) : undefined;
    return found ? [found] : [];
  });
}

export function signalTo(target: ProcessId, signal: "SIGTERM" | "SIGKILL"): void {
  if (!isAlive(target)) return;
  try {
    process.kill(target.pid, signal);
  } catch {
    // It ended in between.
  }
}

/** Whether all of them are gone within the time. */
export async function waitUntilGone(processes: readonly ProcessId[], timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (processes.some(isAlive)) {
    if (performance.now() > deadline) return false;
    await sleep(5);
  }
  return true;
}

/** Asks them to end, and ends by force those that do not within `graceMs`. */
export async function stop(processes: readonly ProcessId[], graceMs: number): Promise<void> {
  for (const target of processes) signalTo(target, "SIGTERM");
  if (await waitUntilGone(processes, graceMs)) return;
  for (const target of processes) signalTo(target, "SIGKILL");
  await waitUntilGone(processes, graceMs);
}
