// Versions of the CNI specification that this program speaks, oldest first. 0.1.0 and 0.2.0 know one address per family, 0.3.0 lists of them, 0.4.0 CHECK,
// 1.0.0 addresses without a family beside them, 1.1.0 STATUS, GC and more about interfaces and routes.

import type { Verb } from "./call.ts";
import { CNI_CODE, CniError } from "./cni_error.ts";

export const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type Version = (typeof VERSIONS)[number];

export const NEWEST: Version = "1.1.0";
/** What a configuration without `cniVersion` is in. */
const UNSTATED: Version = "0.1.0";

/** Since when a verb is there; the others always were. */
const SINCE: Partial<Record<Verb, Version>> = { CHECK: "0.4.0", STATUS: "1.1.0", GC: "1.1.0" };

/** The version that `cniVersion` of a configuration names. Throws CniError "incompatibleVersion" for one that is not known. */
export function versionNamed(text: string | undefined): Version {
  if (text === undefined || text === "") return UNSTATED;
  const found = VERSIONS.find((version) => version === text);
  if (found) return found;
  const supported = VERSIONS.map((version) => JSON.stringify(version)).join(" ");
  throw new CniError(
    CNI_CODE.incompatibleVersion,
    "incompatible CNI versions",
    `config is ${JSON.stringify(text)}, plugin supports [${supported}]`,
  );
}

/** Whether `version` is `than` or newer. */
export function isAtLeast(version: Version, than: Version): boolean {
  return VERSIONS.indexOf(version) >= VERSIONS.indexOf(than);
}

/** The newest of `supported`, up to `asked`; undefined when there is none that this program knows. */
export function newestUpTo(asked: Version, supported: readonly string[]): Version | undefined {
  return VERSIONS.findLast((version) => isAtLeast(asked, version) && supported.includes(version));
}

export function allowsVerb(version: Version, verb: Verb): boolean {
  const since = SINCE[verb];
  return since === undefined || isAtLeast(version, since);
}

/** What VERSION answers. */
export function formatSupportedVersions(cniVersion: Version): string {
  return `${JSON.stringify({ cniVersion, supportedVersions: VERSIONS })}\n`;
}
