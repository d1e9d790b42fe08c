// What two stores of one network do not agree on, for `migrate --verify` and before `--finish`. Times left are not compared: a copy ends
// a little earlier than its origin by design.

import { isJsonObject } from "../../config/json_fields.ts";
import type { RegistryEntry } from "../../subnet/registry.ts";

export interface Content {
  readonly config: string | undefined;
  readonly entries: readonly RegistryEntry[];
}

export type Difference =
  | { readonly kind: "config"; readonly from: string | undefined; readonly to: string | undefined }
  | { readonly kind: "missing"; readonly key: string; readonly on: "from" | "to"; readonly value: string }
  | { readonly kind: "value"; readonly key: string; readonly from: string; readonly to: string }
  | { readonly kind: "reserved"; readonly key: string; readonly on: "from" | "to" };

export function differences(from: Content, to: Content): Difference[] {
  const found: Difference[] = [];
  const same =
    from.config === to.config ||
    (from.config !== undefined && to.config !== undefined && sameConfig(from.config, to.config));
  if (!same) found.push({ kind: "config", from: from.config, to: to.config });
  const others = new Map(to.entries.map((entry) => [entry.key, entry]));
  for (const entry of from.entries) {
    const { key, value } = entry;
    const other = others.get(key);
    others.delete(key);
    if (!other) found.push({ kind: "missing", key, on: "to", value });
    else if (other.value !== value) found.push({ kind: "value", key, from: value, to: other.value });
    else if (other.reserved !== entry.reserved)
      found.push({ kind: "reserved", key, on: entry.reserved ? "from" : "to" });
  }
  for (const { key, value } of others.values()) found.push({ kind: "missing", key, on: "from", value });
  return found;
}

/** Whether two configurations say the same, whatever their spaces. */
export function sameConfig(a: string, b: string): boolean {
  return a === b || plain(a) === plain(b);
}

function plain(text: string): string {
  try {
    return JSON.stringify(sorted(JSON.parse(text)));
  } catch {
    return text;
  }
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isJsonObject(value)) return value;
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(fields.map(([key, field]) => [key, sorted(field)]));
}
