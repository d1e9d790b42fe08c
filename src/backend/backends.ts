// The list of backends. A type that upstream has and this version has not is told apart from one that nobody has.

import { ConfigError } from "../config/fault.ts";
import type { Family } from "../ip/family.ts";
import type { BackendObject } from "../state/backend_object.ts";
import type { LinkInfo } from "../state/object.ts";
import type { Backend } from "./backend.ts";
import { ipip } from "./ipip.ts";
import { ipsec } from "./ipsec.ts";
import { vxlan } from "./vxlan.ts";

const BACKENDS = [
  vxlan, //
  ipip,
  ipsec,
] as readonly Backend<unknown, unknown>[];

/** The backend of a network configuration's `Backend.Type` (lower case). Throws ConfigError naming the ones there are. */
export function backendOfType(type: string, where: string): Backend<unknown, unknown> {
  const backend = BACKENDS.find((candidate) => candidate.type === type);
  if (backend) return backend;
  const known = BACKENDS.map((candidate) => candidate.type).join(", ");
  throw new ConfigError([{ where, got: `"${type}"`, want: `a backend of this version: ${known}` }]);
}

/** The types of the backends that carry a family. */
export function typesCarrying(family: Family): readonly string[] {
  return BACKENDS.filter(({ families }) => !families || families.includes(family)).map(({ type }) => type);
}

/** Whether a link looks like one of some backend's. */
export function looksLikeOurs(name: string, type: LinkInfo["type"]): boolean {
  return BACKENDS.some((backend) => backend.ownsLink(name, type));
}

/** Kinds with drivers of their own that a backend uses; none for a type that there is not. */
export function kindsOfType(type: string | undefined): readonly BackendObject["kind"][] {
  return BACKENDS.find((backend) => backend.type === type)?.kinds ?? [];
}
