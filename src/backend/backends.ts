// The list of backends. A type that upstream has and this version has not is told apart from one that nobody has.

import { ConfigError } from "../config/fault.ts";
import type { Backend } from "./backend.ts";
import { vxlan } from "./vxlan.ts";

const BACKENDS: readonly Backend<unknown, unknown>[] = [vxlan as Backend<unknown, unknown>];

/** The backend of a network configuration's `Backend.Type` (lower case). Throws ConfigError naming the ones there are. */
export function backendOfType(type: string, where: string): Backend<unknown, unknown> {
  const backend = BACKENDS.find((candidate) => candidate.type === type);
  if (backend) return backend;
  const known = BACKENDS.map((candidate) => candidate.type).join(", ");
  throw new ConfigError([{ where, got: `"${type}"`, want: `a backend of this version: ${known}` }]);
}
