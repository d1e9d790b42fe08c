// Who this node is to its peers (MAC, key), settled before its lease: from the stored lease, from what exists, or new. A secret part is kept in a file
// of root's alone, so that a restart is the same node.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { CommandRun } from "../backend/backend.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Link } from "../state/object.ts";
import { x25519 } from "../sys/x25519.ts";
import { writeFileAtomically } from "./atomic_file.ts";
import type { Plan } from "./prepare.ts";

const SECRET_MODE = 0o400;

/** Where a backend keeps its secret; undefined when it has none. Beside subnet.env, since no two flannelds share that, but for one that has moved. */
export function secretPathOf({ backend }: Pick<Plan, "backend">, subnetFile: string): string | undefined {
  const { secretFile } = backend;
  return secretFile && (process.env[secretFile.variable] || join(dirname(subnetFile), secretFile.name));
}

/** What is known of this node before its identity is settled. */
export interface Remains {
  /** Backend data of the lease that the store remembers. */
  readonly stored: PerFamily<unknown>;
  readonly links: readonly Link[];
  readonly secretPath: string | undefined;
  /** The run of the backend's command (identity_command.ts). */
  readonly command?: CommandRun | undefined;
}

/** `purpose` "look": writes nothing, for a plan that is only shown. */
export function settleIdentity(
  { backend, backendConfig }: Pick<Plan, "backend" | "backendConfig">,
  { stored, links, secretPath, command }: Remains,
  purpose: "work" | "look" = "work",
): unknown {
  const secret = secretPath === undefined ? undefined : readIfThere(secretPath);
  const known = backend.known(backendConfig, { stored, links, secret, secretPath, command });
  const identity = backend.identity(known, (length) => crypto.getRandomValues(new Uint8Array(length)), x25519);
  const text = purpose === "work" && secret === undefined ? backend.secretFile?.text(identity) : undefined;
  if (secretPath !== undefined && text !== undefined) writeFileAtomically(secretPath, text, SECRET_MODE);
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
