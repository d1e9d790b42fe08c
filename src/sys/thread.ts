// Threads of this process by the numbers that the kernel gives them (proc(5)): a runtime says that a thread has ended when it was told to end, the kernel when it has.

import { readFileSync, readlinkSync } from "node:fs";

/** The number of the thread that asks. */
export function threadId(): number {
  // "PID/task/TID"
  return Number(readlinkSync("/proc/thread-self").split("/").at(-1));
}

/** What a thread does: "R", "S", "D" and so on, field 3 of its stat; undefined when there is no such thread. The name in field 2 may hold anything. */
export function threadState(id: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/self/task/${id}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[0];
  } catch {
    return undefined;
  }
}
