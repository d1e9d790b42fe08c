// What a daemon costs that has nothing to do: memory, and time on a core.

import { closeSync, copyFileSync, fsyncSync, openSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "./bench.ts";
import { each } from "./counts.ts";
import { settle } from "./machine.ts";
import { BenchNode } from "./node.ts";
import { growth, memoryOf, usageOf } from "./process.ts";
import type { Row, Table } from "./table.ts";

const REST_MS = 20_000;
/** What a start leaves behind (garbage, pages of the executable) has been given back by then. */
const AFTER_START_MS = 10_000;

export async function rest(bench: Bench): Promise<readonly Table[]> {
  const tables: Table[] = [];
  for (const peers of [2, 5_000]) tables.push(await restWith(bench, peers));
  return tables;
}

async function restWith({ flanneld, stores, signal, say }: Bench, peers: number): Promise<Table> {
  using node = new BenchNode();
  await stores.copy(peers, node.store, signal);
  await using observer = await node.observe();
  await settle();
  const all = await observer.expect({ made: each(peers) });
  await using daemon = node.start(unreadCopy(flanneld, node.directory));
  await all.seen;
  await daemon.idle();
  node.requirePeers(peers);
  await Bun.sleep(AFTER_START_MS);
  say(`rest: ${peers} peers, watching for ${REST_MS / 1000} s`);
  const begun = performance.now();
  const before = usageOf(daemon.pid);
  await Bun.sleep(REST_MS);
  const after = usageOf(daemon.pid);
  const seconds = (performance.now() - begun) / 1000;
  const share = (100 * growth(before.nanoseconds, after.nanoseconds)) / 1e9 / seconds;
  const rate = growth(before.wakeups, after.wakeups) / seconds;
  // At the end: what resting itself needs is there again.
  const { residentMiB, anonymousMiB, peakMiB } = memoryOf(daemon.pid);
  const goals = peers === 2;
  const row = (name: string, unit: string, sample: number, goal?: string): Row => ({
    name,
    unit,
    samples: [sample],
    ...(goals && goal !== undefined && { goal }),
  });
  return {
    title: `At rest, ${peers.toLocaleString("en")} peers`,
    rows: [
      row("RSS", "MiB", residentMiB, "≤ 45 MiB"),
      row("of it anonymous", "MiB", anonymousMiB),
      row("peak RSS", "MiB", peakMiB),
      row("CPU", "% of a core", share, "≤ 0.3 %"),
      row("wake-ups", "per second", rate),
    ],
  };
}

/**
 * A copy that is not in the page cache, as after a boot. The kernel maps what is cached around each page that is
 * touched, so that the file's part of RSS is up to 5 MiB larger for an executable that was just written.
 */
function unreadCopy(executable: string, directory: string): string {
  const copy = join(directory, "flanneld");
  copyFileSync(executable, copy);
  const file = openSync(copy, "r+");
  fsyncSync(file);
  closeSync(file);
  const { success } = Bun.spawnSync(["dd", `if=${copy}`, "iflag=nocache", "count=0", "status=none"]);
  if (!success) throw new Error(`cannot drop ${copy} from the page cache`);
  return copy;
}
