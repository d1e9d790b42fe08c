// Reads a plugin's configuration key by key and collects what is wrong with it, so that one error names all of it. null is absent, as it is to the
// reference plugins.
//
// What every pod waits for is written in plain loops here and in the plugins: the first call of each method like map or find costs a process 0.01 to 0.08 ms.

import { CNI_CODE, CniError } from "./cni_error.ts";

export type Raw = Readonly<Record<string, unknown>>;

/** What every plugin may be given, by the specification and by libcni. */
export const KEYS_OF_ALL: readonly string[] = [
  "cniVersion",
  "cniVersions",
  "name",
  "type",
  "ipam",
  "dns",
  "args",
  "capabilities",
  "runtimeConfig",
  "prevResult",
  "disableCheck",
  "disableGC",
  "cni.dev/valid-attachments",
  "cni.dev/attachments",
];

/** Appends "KEY: got VALUE, want WHAT". */
export function addFault(faults: string[], key: string, got: unknown, want: string): void {
  faults.push(`${key}: got ${JSON.stringify(got)}, want ${want}`);
}

export function textField(raw: Raw, key: string, faults: string[], path = key): string | undefined {
  const value = raw[key] ?? undefined;
  if (value === undefined || typeof value === "string") return value;
  addFault(faults, path, value, "text");
  return undefined;
}

/** false when absent. */
export function booleanField(raw: Raw, key: string, faults: string[]): boolean {
  const value = raw[key] ?? false;
  if (typeof value === "boolean") return value;
  addFault(faults, key, value, "true or false");
  return false;
}

/** A whole number from 0 up. */
export function numberField(raw: Raw, key: string, faults: string[], path = key): number | undefined {
  const value = raw[key] ?? undefined;
  if (value === undefined || (typeof value === "number" && Number.isInteger(value) && value >= 0)) return value;
  addFault(faults, path, value, "a whole number, 0 or more");
  return undefined;
}

/** Empty when absent. */
export function objectField(raw: Raw, key: string, faults: string[], path = key): Raw {
  const value = raw[key] ?? {};
  if (isRaw(value)) return value;
  addFault(faults, path, value, "an object");
  return {};
}

/** Empty when absent. */
export function listField(raw: Raw, key: string, faults: string[], path = key): readonly unknown[] {
  const value = raw[key] ?? [];
  if (Array.isArray(value)) return value;
  addFault(faults, path, value, "a list");
  return [];
}

export function textListField(raw: Raw, key: string, faults: string[], path = key): string[] {
  const texts: string[] = [];
  for (const value of listField(raw, key, faults, path)) {
    if (typeof value === "string") texts.push(value);
    else addFault(faults, path, value, "text");
  }
  return texts;
}

export function isRaw(value: unknown): value is Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Throws when there are any. */
export function throwFaults(type: string, faults: readonly string[]): void {
  if (faults.length > 0) {
    throw new CniError(CNI_CODE.invalidConfig, `cannot use the configuration of ${type}: ${faults.join("; ")}`);
  }
}
