// Reads the fields of one JSON object the way Go's decoder does, which running clusters rely on: keys match in any letter case, the last of two
// spellings wins, null counts as absent, unknown keys are let through. Unlike Go it names every wrong field, with what was got and what is wanted.

import type { Fault } from "./fault.ts";
import { nearestWord } from "./nearest.ts";

/** What one field may hold. `default` stands for an absent field and for a wrong one, so that reading goes on to the next fault. */
export type Field =
  | { readonly type: "integer"; readonly min: number; readonly max: number; readonly default: number }
  | { readonly type: "boolean"; readonly default: boolean }
  | { readonly type: "text"; readonly default: string | undefined }
  /** Text that no message shows. */
  | { readonly type: "secret" }
  | { readonly type: "list" }
  | { readonly type: "object" };

export type Fields = Readonly<Record<string, Field>>;

export type FieldValue<F extends Field> = F extends { type: "integer" }
  ? number
  : F extends { type: "boolean" }
    ? boolean
    : F extends { type: "secret" }
      ? string | undefined
      : F extends { type: "text"; default: infer D }
        ? D extends string
          ? string
          : string | undefined
        : F extends { type: "list" }
          ? readonly unknown[] | undefined
          : Readonly<Record<string, unknown>> | undefined;

export type FieldValues<S extends Fields> = { readonly [Name in keyof S]: FieldValue<S[Name]> };

/** What messages say in place of a secret. */
export const HIDDEN = "what is not shown here";

/** The values of `fields` in `raw`; what is wrong is added to `faults`, named `where` and the field's name. */
export function readFields<const S extends Fields>(
  raw: Readonly<Record<string, unknown>>,
  fields: S,
  where: (name: string) => string,
  faults: Fault[],
): FieldValues<S> {
  const given = new Map(Object.entries(raw).map(([key, value]) => [key.toLowerCase(), value]));
  const values: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(fields)) {
    const value = given.get(name.toLowerCase()) ?? undefined;
    const fallback = "default" in field ? field.default : undefined;
    const right = value === undefined || holds(field, value);
    if (!right)
      faults.push({ where: where(name), got: field.type === "secret" ? HIDDEN : quote(value), want: wanted(field) });
    values[name] = right && value !== undefined ? value : fallback;
  }
  return values as FieldValues<S>;
}

function holds(field: Field, value: unknown): boolean {
  switch (field.type) {
    case "integer":
      return typeof value === "number" && Number.isInteger(value) && value >= field.min && value <= field.max;
    case "boolean":
      return typeof value === "boolean";
    case "text":
    case "secret":
      return typeof value === "string";
    case "list":
      return Array.isArray(value);
    case "object":
      return isJsonObject(value);
  }
}

function wanted(field: Field): string {
  switch (field.type) {
    case "integer":
      return `a whole number from ${field.min} to ${field.max}`;
    case "boolean":
      return "true or false";
    case "text":
    case "secret":
      return "text in double quotes";
    case "list":
      return "a JSON list";
    case "object":
      return "a JSON object";
  }
}

/** Keys of `raw` that nobody reads but that look like one of `known` misspelt: the operator meant it, and it has no effect. */
export function misspeltKeys(
  raw: object,
  known: readonly string[],
): { readonly key: string; readonly meant: string }[] {
  const lower = new Set(known.map((name) => name.toLowerCase()));
  return Object.keys(raw).flatMap((key) => {
    const meant = lower.has(key.toLowerCase()) ? undefined : nearestWord(key, known);
    return meant === undefined ? [] : [{ key, meant }];
  });
}

export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value as JSON, cut to what fits a line. */
export function quote(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value);
  return json.length > 80 ? `${json.slice(0, 80)}…` : json;
}
