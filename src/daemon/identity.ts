// Who this node is to its peers (MAC, key), settled before its lease: from the stored lease, from what exists, or new. A secret part is kept in a file
// of root's alone, so that a restart is the same node.

import { readFileSync } from "node:fs";
import type { CommandRun } from "../backend/backend.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Link } from "../state/object.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import type { Plan } from "./prepare.ts";

const SECRET_MODE = 0o400;

/**
 * `stored`: backend data of the lease that the store remembers. `purpose` "look": writes nothing, for a plan that is only shown. `command`: the run of the
 * backend's command (identity_command.ts).
 */
export function settleIdentity(
  { backend, backendConfig }: Pick<Plan, "backend" | "backendConfig">,
  stored: PerFamily<unknown>,
  links: readonly Link[],
  purpose: "work" | "look",
  command: CommandRun | undefined,
): unknown {
  const path = backend.secretFile?.path(backendConfig);
  const secret = path === undefined ? undefined : readIfThere(path);
  const known = backend.known(backendConfig, { stored, links, secret, command });
  const identity = backend.identity(known, (length) => crypto.getRandomValues(new Uint8Array(length)));
  const text = purpose === "work" ? backend.secretFile?.text(identity) : undefined;
  if (path !== undefined && text !== undefined && text !== secret) writeFileAtomically(path, text, SECRET_MODE);
  return identity;
}

export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
