// What `flannelctl ipam ls`, `check` and `gc` do.

import type { GcFlags, IpamFlags } from "../ipam.ts";
import { type Session, UsageError } from "../session.ts";
import { line, paint } from "../terminal.ts";
import { type Freed, forget, free } from "./free.ts";
import type { Judged } from "./judge.ts";
import { lookIntoNamespaces } from "./namespaces.ts";
import { leakedOf, networkUses, reservationJson, reservationTable, useJson, useText } from "./print.ts";
import { readRanges } from "./ranges.ts";
import { type Survey, survey } from "./survey.ts";

/** A plugin that holds the lock longer than this hangs. */
const LOCK_TIMEOUT_MS = 10_000;

export async function list(flags: IpamFlags, session: Session, signal: AbortSignal): Promise<number> {
  const found = await survey(flags, Date.now(), signal);
  if (flags.json) printJson(session, { addresses: found.judged.map(reservationJson), ...sourcesOf(found) });
  else if (found.judged.length > 0)
    for (const text of reservationTable(found.judged, found.now)) line(session.out, text);
  else line(session.err, nothingIn(flags));
  return 0;
}

export async function check(flags: IpamFlags, session: Session, signal: AbortSignal): Promise<number> {
  const found = await survey(flags, Date.now(), signal);
  const uses = networkUses(found.judged, readRanges(flags.stateDir, flags.subnetFile));
  const leaked = uses.reduce((sum, use) => sum + leakedOf(use), 0);
  if (flags.json) printJson(session, { networks: uses.map(useJson), leaked, ...sourcesOf(found) });
  else {
    for (const use of uses) for (const text of useText(use)) line(session.out, text);
    if (uses.length === 0) line(session.err, nothingIn(flags));
    for (const doubt of doubtsOf(found)) line(session.err, `${paint(session.err, "yellow", "in doubt:")} ${doubt}`);
  }
  return leaked > 0 ? 1 : 0;
}

export async function collect(flags: GcFlags, session: Session, signal: AbortSignal): Promise<number> {
  const asks = !flags.yes && !flags.dryRun;
  if (asks && !session.input.live)
    throw new UsageError(
      "cannot free addresses without asking: standard input is no terminal; give --yes or --dry-run",
    );
  const found = await survey(flags, Date.now(), signal);
  const leaked = found.judged.filter(({ state }) => state === "leaked");
  const kept = found.judged.filter(({ state }) => state === "unknown");
  if (flags.dryRun || leaked.length === 0) {
    if (flags.json) printOutcome(session, [], leaked, kept, [], found);
    else {
      for (const judged of leaked) line(session.out, `would free ${wordsOf(judged)}`);
      closingLines(session, found, leaked.length === 0 ? "no address is leaked" : undefined);
    }
    return 0;
  }
  if (asks) {
    for (const text of reservationTable(leaked, found.now)) line(session.out, text);
    if (!(await session.input.agrees(`free ${leaked.length === 1 ? "it" : `these ${leaked.length}`}?`, signal))) {
      line(session.err, "nothing was changed");
      return 1;
    }
  }
  const { dataDir, stateDir } = flags;
  const look = () => lookIntoNamespaces(flags);
  const options = { dataDir, stateDir, look, lockTimeoutMs: LOCK_TIMEOUT_MS, signal };
  const freed: Freed[] = [];
  for (const own of Map.groupBy(leaked, ({ network }) => network).values()) freed.push(...(await free(own, options)));
  const forgotten = forget(freed, options);
  if (flags.json) printOutcome(session, freed, [], kept, forgotten, found);
  else {
    for (const { outcome, remark, ...judged } of freed) {
      if (outcome === "freed") line(session.out, `freed ${wordsOf(judged)}`);
      else line(session.err, `${outcome === "kept" ? "kept" : "cannot free"} ${wordsOf(judged)}: ${remark}`);
    }
    for (const path of forgotten) line(session.out, `removed ${path}, flannel's state of a container that is gone`);
    closingLines(session, found, undefined);
  }
  return freed.some(({ outcome }) => outcome === "failed") ? 1 : 0;
}

function closingLines(session: Session, { judged }: Survey, remark: string | undefined): void {
  if (remark !== undefined) line(session.err, remark);
  const unknown = judged.filter(({ state }) => state === "unknown");
  const [first] = unknown;
  if (first) line(session.err, `${unknown.length} in doubt were kept (${first.address}: ${first.reason})`);
}

function printOutcome(
  session: Session,
  freed: readonly Freed[],
  wouldFree: readonly Judged[],
  unknown: readonly Judged[],
  forgotten: readonly string[],
  found: Survey,
): void {
  printJson(session, {
    addresses: freed.map((one) => ({ ...reservationJson(one), outcome: one.outcome, remark: one.remark ?? null })),
    wouldFree: wouldFree.map(reservationJson),
    unknown: unknown.map(reservationJson),
    removedState: forgotten,
    ...sourcesOf(found),
  });
}

function wordsOf({ address, containerId, ifname, network }: Judged): string {
  return `${address} of ${network} (container ${containerId}${ifname && `, ${ifname}`})`;
}

function doubtsOf({ namespaces, runtimes }: Survey): readonly string[] {
  return [...namespaces.doubts, ...runtimes.doubts];
}

function sourcesOf(found: Survey): object {
  return { runtimes: found.runtimes.asked, namespaces: found.namespaces.count, doubts: doubtsOf(found) };
}

function nothingIn({ dataDir, network }: IpamFlags): string {
  return `${network === undefined ? dataDir : `${dataDir}/${network}`} holds no address`;
}

function printJson(session: Session, value: object): void {
  line(session.out, JSON.stringify(value, undefined, 2));
}
