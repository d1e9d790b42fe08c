// Frees leaked addresses as host-local's DEL does: their files go, under the lock of the network, flock(2) on the file `lock` beside them. Plugins may run
// meanwhile; so each file is read again under the lock, and the namespaces are looked into again.

import { closeSync, existsSync, openSync, readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { EAGAIN, SysError } from "../../sys/error.ts";
import { flock, LOCK_EX, LOCK_NB } from "../../sys/libc.ts";
import type { Judged } from "./judge.ts";
import type { NamespaceView } from "./namespaces.ts";
import { readReservation, readReservations } from "./reservations.ts";

export type Outcome = "freed" | "kept" | "failed";

export interface Freed extends Judged {
  readonly outcome: Outcome;
  /** Why it was not freed. */
  readonly remark: string | undefined;
}

export interface FreeOptions {
  readonly dataDir: string;
  readonly stateDir: string;
  /** Looks into the namespaces anew. */
  readonly look: () => NamespaceView;
  readonly lockTimeoutMs: number;
  readonly signal: AbortSignal;
}

const LOCK_RETRY_MS = 20;
/** As host-local makes it, when there is none. */
const LOCK_MODE = 0o750;

/** `leaked` are of one network. */
export async function free(leaked: readonly Judged[], options: FreeOptions): Promise<Freed[]> {
  const [first] = leaked;
  if (!first) return [];
  using _ = await lockOf(dirname(first.path), options);
  const namespaces = options.look();
  return leaked.map((judged) => freeOne(judged, namespaces, options));
}

function freeOne(judged: Judged, namespaces: NamespaceView, { dataDir }: FreeOptions): Freed {
  const { network, path, text, since, address } = judged;
  const outcome = (outcome: Outcome, remark?: string): Freed => ({ ...judged, outcome, remark });
  const [doubt] = namespaces.doubts;
  if (doubt !== undefined) return outcome("kept", doubt);
  const holder = namespaces.holders.get(address);
  if (holder !== undefined) return outcome("kept", `the namespace of ${holder} has it now`);
  const now = readReservation(dataDir, network, basename(path));
  if (!now) return outcome("kept", "it was given back meanwhile");
  if (now.text !== text || now.since !== since) return outcome("kept", "it was given out anew meanwhile");
  try {
    rmSync(path);
    return outcome("freed");
  } catch (error) {
    return outcome("failed", error instanceof Error ? error.message : String(error));
  }
}

/**
 * Removes what flannel has kept of containers whose last address was freed: <id> and <id>-<ifname>, as its DEL would. Returns the paths.
 */
export function forget(freed: readonly Freed[], { dataDir, stateDir }: FreeOptions): string[] {
  if (!existsSync(stateDir)) return [];
  const present = new Set(readReservations(dataDir).map(({ containerId }) => containerId));
  const gone = new Map<string, Set<string>>();
  for (const { outcome, containerId, ifname } of freed) {
    if (outcome !== "freed" || containerId === undefined || present.has(containerId)) continue;
    gone.set(containerId, (gone.get(containerId) ?? new Set()).add(containerId).add(`${containerId}-${ifname}`));
  }
  const files = new Set([...gone.values()].flatMap((names) => [...names]));
  const paths = readdirSync(stateDir)
    .filter((name) => files.has(name))
    .map((name) => join(stateDir, name));
  for (const path of paths) rmSync(path, { force: true });
  return paths;
}

/** Plugins hold it for milliseconds. */
async function lockOf(directory: string, { lockTimeoutMs, signal }: FreeOptions): Promise<Disposable> {
  const path = join(directory, "lock");
  const fd = openSync(path, "a", LOCK_MODE);
  const lock = { [Symbol.dispose]: () => closeSync(fd) };
  try {
    const end = performance.now() + lockTimeoutMs;
    while (!tryLock(fd, path)) {
      if (performance.now() > end) throw new Error(`cannot lock ${path}: a plugin has held it for ${lockTimeoutMs} ms`);
      await Bun.sleep(LOCK_RETRY_MS);
      signal.throwIfAborted();
    }
    return lock;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function tryLock(fd: number, path: string): boolean {
  try {
    flock(fd, LOCK_EX | LOCK_NB, path);
    return true;
  } catch (error) {
    if (error instanceof SysError && error.errno === EAGAIN) return false;
    throw error;
  }
}
