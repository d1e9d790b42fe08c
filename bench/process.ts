// What a running process costs: proc_pid_status(5), proc_pid_stat(5), proc_pid_schedstat(5).

import { readdirSync, readFileSync } from "node:fs";

const MIB = 1024;
/** USER_HZ, 100 on every Linux that the runtime supports. */
const TICKS_PER_SECOND = 100;
const NANOSECONDS = 1e9;

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

/** Time on a core of the threads that live now, to the nanosecond. */
export function threadSeconds(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  }
  return sum / NANOSECONDS;
}

/** Times that a thread gave up its core to wait. */
export function wakeups(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    sum += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1]);
  }
  return sum;
}
