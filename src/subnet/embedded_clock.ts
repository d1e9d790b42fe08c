// The embedded store's clock: the one that expiries are written and compared in. It must be the same for every
// process of the machine, and it must not jump, or setting the date would end every lease at once. So the wall clock
// is looked at once per boot, by whoever opens the store first; from then on time is the machine's uptime plus that
// offset, which is kept in the store. After a reboot the wall clock is asked anew.

import type { Database } from "bun:sqlite";
import { readFileSync, readlinkSync, statSync } from "node:fs";

export interface MachineClock {
  /** What `uptimeMs` counts from, as text: differs between boots, and between containers that see another uptime. */
  readonly boot: string;
  uptimeMs(): number;
  wallMs(): number;
}

/**
 * proc_uptime(5): seconds since boot, suspend included, to 10 ms. lxcfs and time namespaces show other figures, hence
 * their marks in `boot`.
 */
export function machineClock(): MachineClock {
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return {
    boot: `${bootId} ${readlinkSync("/proc/self/ns/time")} ${statSync("/proc/uptime").dev}`,
    uptimeMs: () => Number.parseFloat(readFileSync("/proc/uptime", "utf8")) * 1000,
    wallMs: Date.now,
  };
}

/**
 * The store's clock, in milliseconds since the epoch. Writes the offset when this boot has none; call it inside a
 * write transaction.
 */
export function storeClock(db: Database, machine: MachineClock): () => number {
  const offset = Math.round(machine.wallMs() - machine.uptimeMs());
  db.query("INSERT OR IGNORE INTO clocks (boot, offset_ms) VALUES (?, ?)").run(machine.boot, offset);
  return readClock(db, machine) ?? (() => machine.uptimeMs() + offset);
}

/** The store's clock if this boot's offset is known. */
export function readClock(db: Database, machine: MachineClock): (() => number) | undefined {
  const row = db
    .query<{ offset_ms: number }, [string]>("SELECT offset_ms FROM clocks WHERE boot = ?")
    .get(machine.boot);
  return row ? () => Math.round(machine.uptimeMs() + row.offset_ms) : undefined;
}
