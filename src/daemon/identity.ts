// Who this node is to its peers (MAC, key), settled before its lease: from the stored lease, from what exists, or new. A secret part is kept in a file
// of root's alone, so that a restart is the same node. Where a command of the configuration is part of it, its output is kept likewise: run again, it would
// make a device anew under a network that works.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { CommandRun, IdentityCommand } from "../backend/backend.ts";
import { isJsonObject } from "../config/json_fields.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Link } from "../state/object.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import type { Plan } from "./prepare.ts";

const SECRET_MODE = 0o400;
/** The command may hold a secret. */
const RECORD_MODE = 0o600;
/** Characters as JSON. Peers refuse a lease of more than 16,384, which has some hundred besides. */
const MAX_DATA = 15_000;

export interface IdentityPlace {
  /** Directory of subnet.env. */
  readonly directory: string;
  readonly signal: AbortSignal;
  /** "look": runs and writes nothing, for a plan that is only shown. */
  readonly purpose: "work" | "look";
}

/** `stored`: backend data of the lease that the store remembers. Throws what the command said when it failed. */
export async function settleIdentity(
  { backend, backendConfig }: Pick<Plan, "backend" | "backendConfig">,
  stored: PerFamily<unknown>,
  links: readonly Link[],
  place: IdentityPlace,
): Promise<unknown> {
  const path = backend.secretFile?.path(backendConfig);
  const secret = path === undefined ? undefined : readIfThere(path);
  const command = backend.identityCommand && (await runOf(backend.identityCommand(backendConfig), place));
  const known = backend.known(backendConfig, { stored, links, secret, command });
  const identity = backend.identity(known, (length) => crypto.getRandomValues(new Uint8Array(length)));
  const text = place.purpose === "work" ? backend.secretFile?.text(identity) : undefined;
  if (path !== undefined && text !== undefined && text !== secret) writeFileAtomically(path, text, SECRET_MODE);
  return identity;
}

/** The run whose work still stands, else a new one. */
async function runOf(
  command: IdentityCommand,
  { directory, signal, purpose }: IdentityPlace,
): Promise<CommandRun | undefined> {
  const [{ readEra }, { runShell }] = await Promise.all([import("../kernel/era.ts"), import("../kernel/shell.ts")]);
  const path = join(directory, "identity.json");
  const era = readEra();
  const before = parseRun(readIfThere(path), era, command.text);
  if (before || purpose === "look") return before;
  const { option: title, text, timeoutSeconds } = command;
  const shell = { title, text, environment: {}, stdin: "", timeoutMs: timeoutSeconds * 1000 };
  const output = text === "" ? "" : await runShell(shell, signal);
  if (JSON.stringify(output).length > MAX_DATA) {
    throw new Error(`cannot use the output of ${title}: it has ${output.length} characters, want at most ${MAX_DATA}`);
  }
  const run = { output, id: crypto.randomUUID() };
  writeFileAtomically(path, `${JSON.stringify({ era, command: text, ...run })}\n`, RECORD_MODE);
  return run;
}

function parseRun(text: string | undefined, era: string, command: string): CommandRun | undefined {
  if (text === undefined) return undefined;
  try {
    const record: unknown = JSON.parse(text);
    if (!isJsonObject(record) || record.era !== era || record.command !== command) return undefined;
    const { output, id } = record;
    return typeof output === "string" && typeof id === "string" && id !== "" ? { output, id } : undefined;
  } catch {
    return undefined; // half a file is none
  }
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
