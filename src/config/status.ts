// status.json, beside subnet.env: how the daemon is, for the CNI plugin, flannelctl and people. Written on a change of phase or cause, so that a pod that
// cannot start is told why, and not only that subnet.env is missing. A file outlives its writer: a process that is gone means "not running", whatever it says.

import type { Address } from "../ip/address.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import { isJsonObject } from "./json_fields.ts";

export const PHASES = ["config", "identity", "lease", "programming", "ready", "stopping", "failed"] as const;
export type Phase = (typeof PHASES)[number];

export interface Status {
  /** Of the program. */
  readonly version: string;
  readonly pid: number;
  /**
   * When that process started, clock ticks after boot (field 22 of /proc/PID/stat): with the pid it tells the writer from a later process that got the
   * same pid.
   */
  readonly startTime: number;
  readonly phase: Phase;
  /** Why the phase lasts, one line for people; undefined when there is nothing to say. */
  readonly cause?: string | undefined;
  /** What was asked for while it runs and is not done, and why, one line; what was before stays. */
  readonly warning?: string | undefined;
  /** When phase or cause last changed, ISO 8601 in UTC. */
  readonly since: string;
  readonly network?: PerFamily<Prefix> | undefined;
  readonly subnet?: PerFamily<Prefix> | undefined;
  readonly publicIp?: PerFamily<Address> | undefined;
  /** Type of the backend. */
  readonly backend?: string | undefined;
  /** Bytes, what pods get. */
  readonly mtu?: number | undefined;
  readonly store?: StoreStatus | undefined;
  /** Leases that are programmed, leases refused, and kernel objects that could not be made. */
  readonly peers?: number | undefined;
  readonly refused?: number | undefined;
  readonly failing?: number | undefined;
}

export interface StoreStatus {
  /** "embedded", "etcd3", … */
  readonly kind: string;
  readonly reachable: boolean;
  /** When `reachable` last changed, ISO 8601 in UTC. */
  readonly since: string;
}

export function formatStatus(status: Status): string {
  return `${JSON.stringify(status, undefined, 2)}\n`;
}

/** The status that `text` holds, undefined when it holds none. A file is written whole by us, so only what every reader relies on is checked. */
export function parseStatus(text: string): Status | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(json)) return undefined;
  const { version, pid, startTime, phase, since } = json;
  const whole = Number.isSafeInteger(pid) && Number.isSafeInteger(startTime);
  const named = typeof version === "string" && typeof since === "string" && PHASES.some((known) => known === phase);
  return whole && named ? (json as unknown as Status) : undefined;
}
