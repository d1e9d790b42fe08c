// Reads cfssl's signing configuration: what a certificate of a profile may be used for and how long it lives. A profile that is not there is a
// fault, where cfssl quietly takes the default one; a profile without expiry has the default's.

import { ConfigError, type Fault } from "../../config/fault.ts";
import { isJsonObject, quote, readFields } from "../../config/json_fields.ts";
import { parseJson } from "../../config/json_syntax.ts";
import { nearestWord } from "../../config/nearest.ts";
import { DEFAULT_EXPIRY_MS, EXPIRY_WANTED, parseExpiry } from "./expiry.ts";
import { USAGES, type Usage } from "./usage.ts";

export interface SigningProfile {
  readonly usages: readonly Usage[];
  readonly expiryMs: number;
}

const SIGNING_FIELDS = { default: { type: "object" }, profiles: { type: "object" } } as const;
const PROFILE_FIELDS = {
  expiry: { type: "text", default: "" },
  usages: { type: "list" },
  ca_constraint: { type: "object" },
} as const;

/** The profile `name`, or the default one when undefined. Throws ConfigError naming every fault. */
export function readSigningProfile(text: string, source: string, name: string | undefined): SigningProfile {
  const raw = parseJson(text, source);
  if (!isJsonObject(raw)) throw new ConfigError([{ where: source, got: quote(raw), want: "a JSON object" }]);
  const faults: Fault[] = [];
  const where = (path: string) => `${source}: ${path}`;
  const { signing } = readFields(raw, { signing: { type: "object" } }, where, faults);
  if (signing === undefined) {
    throw new ConfigError(
      faults.length > 0 ? faults : [{ where: where("signing"), got: undefined, want: "a JSON object" }],
    );
  }
  const sections = readFields(signing, SIGNING_FIELDS, (key) => where(`signing.${key}`), faults);
  const fallback = sections.default ?? {};
  const path = name === undefined ? "signing.default" : `signing.profiles.${name}`;
  const section = name === undefined ? fallback : sections.profiles?.[name];
  if (!isJsonObject(section)) {
    faults.push({
      where: where(path),
      got: section === undefined ? undefined : quote(section),
      want: profileWanted(sections.profiles, name),
    });
    throw new ConfigError(faults);
  }
  const profile = readFields(section, PROFILE_FIELDS, (key) => where(`${path}.${key}`), faults);
  if (profile.ca_constraint?.is_ca === true) {
    const want = "false: authorities are made by flannelctl certs ca, which sign themselves";
    faults.push({ where: where(`${path}.ca_constraint.is_ca`), got: "true", want });
  }
  const usages = readUsages(profile.usages, (key) => where(`${path}.${key}`), faults);
  const ownExpiry = readExpiry(profile.expiry, where(`${path}.expiry`), faults);
  const defaultExpiry = readExpiry(
    readFields(fallback, PROFILE_FIELDS, (key) => where(`signing.default.${key}`), []).expiry,
    where("signing.default.expiry"),
    name === undefined || ownExpiry !== undefined ? [] : faults,
  );
  if (faults.length > 0) throw new ConfigError(faults);
  return { usages, expiryMs: ownExpiry ?? defaultExpiry ?? DEFAULT_EXPIRY_MS };
}

function profileWanted(profiles: Readonly<Record<string, unknown>> | undefined, name: string | undefined): string {
  const names = Object.keys(profiles ?? {});
  const near = name === undefined ? undefined : nearestWord(name, names);
  if (near !== undefined) return `a profile that is there; did you mean ${near}`;
  return names.length === 0 ? "a JSON object" : `one of the profiles ${names.join(", ")}`;
}

function readUsages(
  usages: readonly unknown[] | undefined,
  where: (key: string) => string,
  faults: Fault[],
): readonly Usage[] {
  const known: readonly string[] = USAGES;
  if (!usages?.length) {
    if (!faults.some((fault) => fault.where === where("usages"))) {
      faults.push({ where: where("usages"), got: usages && "[]", want: 'a list such as ["signing", "client auth"]' });
    }
    return [];
  }
  return usages.flatMap((usage, i) => {
    if (typeof usage === "string" && known.includes(usage)) return [usage as Usage];
    const near = typeof usage === "string" ? nearestWord(usage, known) : undefined;
    const want = near === undefined ? `one of ${known.join(", ")}` : quote(near);
    faults.push({ where: where(`usages[${i}]`), got: quote(usage), want });
    return [];
  });
}

function readExpiry(text: string, where: string, faults: Fault[]): number | undefined {
  if (text === "") return undefined;
  const expiryMs = parseExpiry(text);
  if (expiryMs === undefined) faults.push({ where, got: quote(text), want: EXPIRY_WANTED });
  return expiryMs;
}
