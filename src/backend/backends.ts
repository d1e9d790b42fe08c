// The list of backends. A type that upstream has and this version has not is told apart from one that nobody has.

import { ConfigError } from "../config/fault.ts";
import { nearestWord } from "../config/nearest.ts";
import type { Family } from "../ip/family.ts";
import type { BackendObject } from "../state/backend_object.ts";
import type { LinkInfo } from "../state/object.ts";
import { alloc } from "./alloc.ts";
import type { Backend } from "./backend.ts";
import { extension } from "./extension.ts";
import { hostGw } from "./host_gw.ts";
import { ipip } from "./ipip.ts";
import { ipsec } from "./ipsec.ts";
import { udp } from "./udp.ts";
import { vxlan } from "./vxlan.ts";
import { wireguard } from "./wireguard.ts";

const BACKENDS = [
  vxlan, //
  alloc,
  extension,
  hostGw,
  udp,
  ipip,
  wireguard,
  ipsec,
] as readonly Backend<unknown, unknown>[];

/** Types that a configuration may still name: what became of them, and what does the same today. */
const MISSING: Readonly<Record<string, string>> = {
  "aws-vpc": removedWith("routes in the VPC's route table"),
  gce: removedWith("routes of the project's network"),
  "ali-vpc": removedWith("routes in the VPC's route table"),
  "tencent-vpc":
    "which this version has not, since it writes into a cloud's route table; vxlan needs nothing of the cloud, host-gw works between nodes of one subnet",
};

function removedWith(means: string): string {
  return (
    `which flannel dropped in 2022 (v0.20.0): it wrote ${means}; vxlan needs nothing of the cloud, host-gw works between nodes of one subnet, ` +
    "alloc is for routes that the cloud's own controller makes"
  );
}

/** The backend of a network configuration's `Backend.Type` (lower case). Throws ConfigError naming the ones there are. */
export function backendOfType(type: string, where: string): Backend<unknown, unknown> {
  const backend = BACKENDS.find((candidate) => candidate.type === type);
  if (backend) return backend;
  const known = BACKENDS.map((candidate) => candidate.type);
  const missing = MISSING[type];
  const got = missing === undefined ? `"${type}"` : `"${type}", ${missing}`;
  const meant = missing === undefined ? nearestWord(type, [...known, ...Object.keys(MISSING)]) : undefined;
  const hint = meant === undefined ? "" : ` (did you mean "${meant}"?)`;
  throw new ConfigError([{ where, got, want: `a backend of this version: ${known.join(", ")}${hint}` }]);
}

/** BackendType that leases of a network have; the type's own where this version has no such backend. */
export function leaseTypeOf(type: string): string {
  return BACKENDS.find((candidate) => candidate.type === type)?.leaseType ?? type;
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
