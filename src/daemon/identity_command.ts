// The command of the configuration that is part of who this node is, run before the lease. Its output is kept beside subnet.env: run again at each start, it would
// make a device anew under a network that works. It runs when the machine has booted, when it is another command, or when the file is removed.

import { join } from "node:path";
import type { CommandRun } from "../backend/backend.ts";
import { isJsonObject } from "../config/json_fields.ts";
import { readEra } from "../kernel/era.ts";
import { runShell } from "../kernel/shell.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import { readIfThere } from "./identity.ts";
import type { Plan } from "./prepare.ts";

/** The command may hold a secret. */
const MODE = 0o600;
/** Characters as JSON. Peers refuse a lease of more than 16,384, which has some hundred besides. */
const MAX_DATA = 15_000;

/**
 * The run whose work still stands, else a new one; undefined for a backend without. `directory`: of subnet.env. `signal` undefined: runs nothing, for a plan
 * that is only shown. Throws what the command said when it failed.
 */
export async function identityCommandRun(
  { backend, backendConfig }: Pick<Plan, "backend" | "backendConfig">,
  directory: string,
  signal: AbortSignal | undefined,
): Promise<CommandRun | undefined> {
  const command = backend.identityCommand?.(backendConfig);
  if (!command) return undefined;
  const path = join(directory, "identity.json");
  const era = readEra();
  const { option: title, text, timeoutSeconds } = command;
  const before = parseRun(readIfThere(path), era, text);
  if (before || !signal) return before;
  const shell = { title, text, environment: {}, stdin: "", timeoutMs: timeoutSeconds * 1000 };
  const output = text === "" ? "" : await runShell(shell, signal);
  if (JSON.stringify(output).length > MAX_DATA) {
    throw new Error(`cannot use the output of ${title}: it has ${output.length} characters, want at most ${MAX_DATA}`);
  }
  const run = { output, id: crypto.randomUUID() };
  writeFileAtomically(path, `${JSON.stringify({ era, command: text, ...run })}\n`, MODE);
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
