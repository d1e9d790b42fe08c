// What `flannelctl config get|check|set|edit` do.

import { readFileSync } from "node:fs";
import { faultLine } from "../../config/fault.ts";
import type { NetworkConfig } from "../../config/network.ts";
import type { Registry } from "../../subnet/registry.ts";
import { type Session, UsageError } from "../session.ts";
import { configKey, openStore, type StoreFlags, storeChoiceOf } from "../store_options.ts";
import { line, paint } from "../terminal.ts";
import { changedKeys, consequences, type Endangered, endangeredLeases } from "./change.ts";
import { type Checked, checkConfig, meaningOf } from "./check.ts";
import { EditedFile } from "./edit.ts";

/** What an empty store is filled with by `edit`: to be changed, not to be guessed. */
const TEMPLATE = `${JSON.stringify({ Network: "10.5.0.0/16", SubnetLen: 24, Backend: { Type: "vxlan" } }, undefined, 2)}\n`;

export async function get(
  flags: StoreFlags & { json: boolean },
  session: Session,
  signal: AbortSignal,
): Promise<number> {
  const choice = storeChoiceOf(flags, process.env);
  using store = await openStore(choice, { make: false }, signal);
  const { text } = await store.config(signal);
  const key = configKey(choice);
  if (text === undefined) {
    line(
      session.err,
      `${store.description} holds no network configuration (${key}); write one with flannelctl config set`,
    );
    return 1;
  }
  if (flags.json) line(session.out, JSON.stringify({ store: store.description, key, config: text }, undefined, 2));
  else session.out.write(text.endsWith("\n") ? text : `${text}\n`);
  return 0;
}

export async function check(
  source: string | undefined,
  flags: StoreFlags & { json: boolean },
  session: Session,
  signal: AbortSignal,
): Promise<number> {
  const given = source === undefined ? await storedText(flags, signal) : await textOf(source, session);
  const checked = checkConfig(given.text, given.name);
  if (flags.json) line(session.out, JSON.stringify(checkedJson(given.name, checked), undefined, 2));
  else {
    reportFaults(checked, session);
    if (checked.kind === "right") {
      for (const text of meaningOf(checked.plan)) line(session.out, text);
      for (const warning of checked.warnings) line(session.err, paint(session.err, "yellow", `warning: ${warning}`));
    }
  }
  return checked.kind === "right" ? 0 : 1;
}

export interface SetFlags {
  readonly dryRun: boolean;
  readonly force: boolean;
  readonly json: boolean;
}

export async function set(
  source: string,
  flags: StoreFlags & SetFlags,
  session: Session,
  signal: AbortSignal,
): Promise<number> {
  const given = await textOf(source, session);
  using store = await openStore(storeChoiceOf(flags, process.env), { make: !flags.dryRun }, signal);
  const before = (await store.config(signal)).text;
  return await write(store, before, given, flags, session, signal);
}

export async function edit(
  flags: StoreFlags & { force: boolean; json: boolean },
  session: Session,
  signal: AbortSignal,
): Promise<number> {
  using store = await openStore(storeChoiceOf(flags, process.env), { make: true }, signal);
  const before = (await store.config(signal)).text;
  using file = new EditedFile(before ?? TEMPLATE);
  for (;;) {
    await file.edit(process.env);
    signal.throwIfAborted();
    const { text } = file;
    if (text === before || (before === undefined && text === TEMPLATE)) {
      report("unchanged", "nothing was changed", flags.json, session);
      return 0;
    }
    const given = { name: file.path, text };
    if (checkConfig(text, given.name, store).kind === "right") {
      const code = await write(store, before, given, { ...flags, dryRun: false }, session, signal);
      if (code === 0) return 0;
    } else {
      reportFaults(checkConfig(text, given.name, store), session);
      if (session.input.live && (await session.input.agrees("edit again?", signal))) continue;
    }
    file.keep();
    line(session.err, `nothing was written; your text is kept in ${file.path}`);
    return 1;
  }
}

interface Given {
  readonly name: string;
  readonly text: string;
}

/** Checks, shows what changes, and writes; 1 when it is not written. */
async function write(
  store: Registry,
  before: string | undefined,
  given: Given,
  flags: SetFlags,
  session: Session,
  signal: AbortSignal,
): Promise<number> {
  const checked = checkConfig(given.text, given.name, store);
  if (checked.kind === "wrong") {
    if (flags.json) line(session.out, JSON.stringify(checkedJson(given.name, checked), undefined, 2));
    reportFaults(checked, session);
    return 1;
  }
  const { config } = checked.plan;
  const changes = changedKeys(before, given.text);
  const old = before === undefined ? undefined : parsed(before);
  const notes = consequences(old, config);
  const endangered = endangeredLeases(old, config, (await store.entries(signal)).entries);
  const refused = endangered.length > 0 && !flags.force;
  const outcome = before === given.text ? "unchanged" : refused ? "refused" : flags.dryRun ? "dry run" : "written";
  if (!flags.json) {
    for (const { key, before: was, after } of changes) {
      if (was !== undefined) line(session.out, paint(session.out, "red", `- ${key}: ${was}`));
      if (after !== undefined) line(session.out, paint(session.out, "green", `+ ${key}: ${after}`));
    }
    for (const warning of checked.warnings) line(session.err, paint(session.err, "yellow", `warning: ${warning}`));
    for (const note of notes) line(session.err, `note: ${note}`);
    for (const lease of endangered) line(session.err, `note: ${endangeredText(lease)}`);
  }
  if (outcome === "written") {
    // No store has a compare-and-swap for it: looking once more leaves a moment, not the minutes of an editor.
    if ((await store.config(signal)).text !== before) {
      line(
        session.err,
        `cannot write the configuration: somebody else changed it meanwhile; see flannelctl config get, and try again`,
      );
      return 1;
    }
    await store.setConfig(given.text, signal);
  }
  if (flags.json) {
    const { warnings } = checked;
    const meaning = meaningOf(checked.plan);
    const result = { store: store.description, outcome, changes, meaning, warnings, notes, endangered };
    line(session.out, JSON.stringify(result, undefined, 2));
  } else report(outcome, outcomeText(outcome, store, endangered.length), false, session);
  return outcome === "refused" ? 1 : 0;
}

type Outcome = "unchanged" | "refused" | "dry run" | "written";

function outcomeText(outcome: Outcome, store: Registry, endangered: number): string {
  switch (outcome) {
    case "unchanged":
      return `${store.description} holds this configuration already`;
    case "refused":
      return `not written: ${endangered} lease${endangered === 1 ? " has" : "s have"} no place in it; --force writes it all the same`;
    case "dry run":
      return "not written: --dry-run";
    case "written":
      return `written to ${store.description}`;
  }
}

function report(outcome: Outcome, text: string, json: boolean, session: Session): void {
  if (json) line(session.out, JSON.stringify({ outcome }));
  else line(outcome === "refused" ? session.err : session.out, text);
}

function endangeredText({ key, publicIp, reserved }: Endangered): string {
  const what = reserved ? "the reservation" : "the lease";
  return `${what} ${key} of ${publicIp} does not fit: its node gets another subnet when its flanneld starts again, and its pods must be made anew`;
}

function reportFaults(checked: Checked, session: Session): void {
  if (checked.kind === "right") return;
  for (const fault of checked.faults) {
    line(session.err, paint(session.err, "red", faultLine(fault)));
    for (const text of fault.excerpt ?? []) line(session.err, text);
  }
}

function checkedJson(source: string, checked: Checked): object {
  if (checked.kind === "wrong") return { source, valid: false, faults: checked.faults, warnings: checked.warnings };
  return { source, valid: true, meaning: meaningOf(checked.plan), warnings: checked.warnings };
}

function parsed(text: string): NetworkConfig | undefined {
  const checked = checkConfig(text, "stored");
  return checked.kind === "right" ? checked.plan.config : undefined;
}

/** The text that an argument names: the JSON itself, standard input, or a file. */
async function textOf(source: string, session: Session): Promise<Given> {
  if (source.trimStart().startsWith("{")) return { name: "argument", text: source };
  if (source === "-") return { name: "standard input", text: await session.input.text() };
  try {
    return { name: source, text: readFileSync(source, "utf8") };
  } catch (error) {
    throw new UsageError(`cannot read ${source}: ${error instanceof Error ? error.message : error}`);
  }
}

async function storedText(flags: StoreFlags, signal: AbortSignal): Promise<Given> {
  const choice = storeChoiceOf(flags, process.env);
  using store = await openStore(choice, { make: false }, signal);
  const { text } = await store.config(signal);
  if (text === undefined)
    throw new Error(`${store.description} holds no network configuration; write one with flannelctl config set`);
  return { name: `${store.description}: config`, text };
}
