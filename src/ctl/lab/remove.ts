// Takes a lab away: processes, namespaces (with every link in them), files. Works from what is there, not from what
// should be: after a crash the state file may be behind, so the names and the processes inside the namespaces count
// as well.

import { existsSync, readFileSync, readlinkSync, rmdirSync, rmSync } from "node:fs";
import { labDirectory, namespacePath, STATE_ROOT } from "./layout.ts";
import {
  allPids,
  isAlive,
  type NamespaceId,
  namespaceId,
  type ProcessId,
  processesIn,
  signalTo,
  stop,
  waitUntilGone,
} from "./processes.ts";
import { ipBatch } from "./run.ts";
import { type LabState, namespacesOf, readState } from "./state.ts";

export interface Removed {
  readonly processes: number;
  readonly namespaces: number;
  /** What is still there, one line each; empty when all is gone. */
  readonly left: readonly string[];
}

/** How long a process may take to end when asked. */
const GRACE_MS = 3000;
/** How long a `lab up` that is still building may take to clear its own work away. */
const OWNER_GRACE_MS = 15_000;

export async function removeLab(name: string, root = STATE_ROOT): Promise<Removed> {
  const state = stateOrNothing(name, root);
  await stopBuilder(state);
  const namespaces = namespacesOf(name);
  const ids = new Set(namespaces.flatMap((namespace) => namespaceId(namespacePath(namespace)) ?? []));
  if (ids.has(namespaceId("/proc/self/ns/net") ?? ("" as NamespaceId))) {
    throw new Error(`cannot remove lab ${name}: this shell is inside of it; leave it first`);
  }
  const processes = await stopProcesses(state, ids);
  await ipBatch(
    undefined,
    namespaces.map((namespace) => `netns delete ${namespace}`),
  );
  rmSync(labDirectory(name, root), { recursive: true, force: true });
  removeIfEmpty(root);
  return { processes, namespaces: namespaces.length, left: leftOf(name, ids, root) };
}

/** A state file that cannot be read hides no more than pids, and those are found by their namespaces. */
function stateOrNothing(name: string, root: string): LabState | undefined {
  try {
    return readState(name, root);
  } catch {
    return undefined;
  }
}

/** Another `lab up` of this name would go on making what is removed here. */
async function stopBuilder(state: LabState | undefined): Promise<void> {
  if (state?.phase !== "building" || state.owner.pid === process.pid || !isAlive(state.owner)) return;
  signalTo(state.owner, "SIGTERM");
  if (!(await waitUntilGone([state.owner], OWNER_GRACE_MS))) await stop([state.owner], GRACE_MS);
}

/** Until none is left: one of them may have had a child in between. Counts them. */
async function stopProcesses(state: LabState | undefined, ids: ReadonlySet<NamespaceId>): Promise<number> {
  const stopped = new Map<number, ProcessId>();
  for (;;) {
    const recorded = Object.values(state?.daemons ?? {}).filter(isAlive);
    const found = new Map([...recorded, ...processesIn(ids)].map((one) => [one.pid, one]));
    const fresh = [...found].filter(([pid, one]) => stopped.get(pid)?.startTime !== one.startTime);
    if (fresh.length === 0) return stopped.size;
    for (const [pid, one] of fresh) stopped.set(pid, one);
    await stop([...found.values()], GRACE_MS);
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Another lab is in it, or it was never made.
  }
}

/**
 * Looks for everything a lab could leave: names, files, processes, and mounts that would keep a deleted namespace
 * alive out of sight.
 */
function leftOf(name: string, ids: ReadonlySet<NamespaceId>, root: string): string[] {
  const directory = labDirectory(name, root);
  return [
    ...namespacesOf(name).map((namespace) => `network namespace ${namespace}`),
    ...(existsSync(directory) ? [`directory ${directory}`] : []),
    ...processesIn(ids).map(({ pid }) => `process ${pid}`),
    ...mountsOf(ids, directory),
  ];
}

function mountsOf(ids: ReadonlySet<NamespaceId>, directory: string): string[] {
  const roots = new Set([...ids].map((id) => `net:[${id.slice(id.indexOf(":") + 1)}]`));
  const seen = new Set<string>();
  return allPids().flatMap((pid) => {
    try {
      const mountNamespace = readlinkSync(`/proc/${pid}/ns/mnt`);
      if (seen.has(mountNamespace)) return [];
      seen.add(mountNamespace);
      return readFileSync(`/proc/${pid}/mountinfo`, "utf8")
        .split("\n")
        .map((text) => text.split(" "))
        .filter(([, , , source = "", target = ""]) => roots.has(source) || `${target}/`.startsWith(`${directory}/`))
        .map(([, , , , target]) => `mount ${target} (seen by process ${pid})`);
    } catch {
      return []; // The process ended while we looked.
    }
  });
}
