// On what a figure was measured. Absolute figures mean one quiet machine, so whether it was quiet stands above every
// table.

import { readdirSync, readFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";

/** Above this share of all cores somebody else is at work. */
const QUIET_SHARE = 0.05;
const LOOK_MS = 1_000;
const SETTLE_STEP_MS = 50;
/** A machine that others use never becomes quiet. */
const SETTLE_LIMIT_MS = 3_000;
const NAMESPACES_LIMIT_MS = 60_000;

export interface Machine {
  readonly date: string;
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly runtime: string;
  readonly load: string;
  /** Share of all cores that was busy while this program waited. */
  readonly busy: number;
  readonly quiet: boolean;
}

export async function lookAtMachine(): Promise<Machine> {
  const busy = await busyShare(LOOK_MS);
  return {
    date: new Date().toISOString().slice(0, 16),
    kernel: release(),
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    runtime: `Bun ${Bun.version}`,
    load: loadavg()
      .map((value) => value.toFixed(2))
      .join(" "),
    busy,
    quiet: busy <= QUIET_SHARE,
  };
}

export function describeMachine(machine: Machine): string {
  const { date, kernel, cpu, cores, runtime, load, busy, quiet } = machine;
  const facts = `${date}  Linux ${kernel}  ${cores} × ${cpu}  ${runtime}  load ${load}  busy ${(busy * 100).toFixed(0)} %`;
  return quiet
    ? facts
    : `${facts}\nWARNING: this machine is not quiet; absolute figures are too high, ratios are rough`;
}

/** Waits until what came before no longer costs time, within reason. */
export async function settle(): Promise<void> {
  const begun = performance.now();
  const within = (limitMs: number) => performance.now() - begun < limitMs;
  do await Bun.sleep(SETTLE_STEP_MS);
  while (takesNamespacesApart() && within(NAMESPACES_LIMIT_MS));
  const end = performance.now() + SETTLE_LIMIT_MS;
  while ((await busyShare(SETTLE_STEP_MS)) > QUIET_SHARE && performance.now() < end);
}

/**
 * Whether the kernel is still at a network namespace that was deleted: 9 s for one with 50,000 routes, and it holds
 * the lock that all changes of the network wait for. Its worker is then called "kworker/u8:1+netns" (a minus in place
 * of the plus: done).
 */
function takesNamespacesApart(): boolean {
  return readdirSync("/proc").some((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/comm`, "utf8").includes("+netns");
    } catch {
      return false; // gone meanwhile
    }
  });
}

/** proc_stat(5): the first line holds the jiffies of all cores by state; the 4th and 5th are idle. */
async function busyShare(ms: number): Promise<number> {
  const before = readTimes();
  await Bun.sleep(ms);
  const after = readTimes();
  const total = after.total - before.total;
  return total === 0 ? 0 : 1 - (after.idle - before.idle) / total;
}

/** Jiffies of all cores since boot. */
export function readTimes(): { readonly idle: number; readonly total: number } {
  const line = readFileSync("/proc/stat", "utf8").split("\n", 1)[0] ?? "";
  const times = line.split(/\s+/).slice(1, 9).map(Number);
  return { idle: (times[3] ?? 0) + (times[4] ?? 0), total: times.reduce((sum, each) => sum + each, 0) };
}
