// All that `flannelctl ipam` goes by, looked at once: what is on disk, what is in the namespaces, what the runtimes know.

import type { IpamFlags } from "../ipam.ts";
import { type Evidence, type Judged, judge } from "./judge.ts";
import { lookIntoNamespaces } from "./namespaces.ts";
import { readReservations } from "./reservations.ts";
import { askRuntimes } from "./runtimes.ts";

export interface Survey extends Evidence {
  readonly judged: readonly Judged[];
}

/** The files are read first: what is added meanwhile is then not among them. */
export async function survey(flags: IpamFlags, now: number, signal: AbortSignal): Promise<Survey> {
  const reservations = readReservations(flags.dataDir, flags.network);
  const runtimes = await askRuntimes(flags.containerd, signal);
  const namespaces = lookIntoNamespaces(flags);
  const evidence: Evidence = { namespaces, runtimes, now, olderThanMs: flags.olderThan };
  return { ...evidence, judged: reservations.map((reservation) => judge(reservation, evidence)) };
}
