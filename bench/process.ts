// What a running process costs: proc_pid_status(5), proc_pid_stat(5), proc_pid_schedstat(5).

import { readdirSync, readFileSync } from "node:fs";

const MIB = 1024;
/** USER_HZ, 100 on every Linux that the runtime supports. */
const TICKS_PER_SECOND = 100;

export interface Memory {
  readonly residentMiB: number;
  /** Not backed by a file: heap and stacks, what is really this process' own. */
  readonly anonymousMiB: number;
  readonly peakMiB: number;
}

export function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / MIB;
  return { residentMiB: field("VmRSS"), anonymousMiB: field("RssAnon"), peakMiB: field("VmHWM") };
}

/** User and system time so far, threads that ended included; to 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** What each thread has used. */
export interface Usage {
  /** Nanoseconds on a core, by thread. */
  readonly nanoseconds: ReadonlyMap<string, number>;
  /** Times that it gave up its core to wait, by thread. */
  readonly wakeups: ReadonlyMap<string, number>;
}

/** To the nanosecond; for what takes a thousandth of a core. */
export function usageOf(pid: number): Usage {
  const nanoseconds = new Map<string, number>();
  const wakeups = new Map<string, number>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const directory = `/proc/${pid}/task/${thread}`;
    nanoseconds.set(thread, Number(readFileSync(`${directory}/schedstat`, "utf8").split(" ")[0]));
    const status = readFileSync(`${directory}/status`, "utf8");
    wakeups.set(thread, Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]));
  }
  return { nanoseconds, wakeups };
}

/** The growth of all threads that are there at the end; one that ended between takes its share with it. */
export function growth(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const [thread, value] of after) sum += value - (before.get(thread) ?? 0);
  return sum;
}
