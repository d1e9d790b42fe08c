// Checks a value against the part of JSON Schema (draft 7) that the chart's values.schema.json uses: Helm does the same with the whole of it.

import type { Fault } from "../../config/fault.ts";
import { isJsonObject, quote } from "../../config/json_fields.ts";
import { nearestWord } from "../../config/nearest.ts";

type Type = "object" | "array" | "string" | "integer" | "boolean" | "null";

export interface Schema {
  readonly description?: string;
  readonly type?: Type | readonly Type[];
  readonly enum?: readonly unknown[];
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean;
  readonly items?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly pattern?: string;
}

/** What of `value`, named `where`, is not as `schema` wants it. */
export function faultsOf(value: unknown, schema: Schema, where: string): Fault[] {
  const fault = (want: string): Fault[] => [{ where, got: quote(value), want }];
  const types = typeof schema.type === "string" ? [schema.type] : schema.type;
  if (types && !types.some((type) => isOf(value, type))) return fault(types.map((type) => WORDS[type]).join(" or "));
  if (schema.enum && !schema.enum.includes(value)) {
    return fault(`one of ${schema.enum.filter((choice) => choice !== null && choice !== "").join(", ")}`);
  }
  if (typeof value === "number") {
    const { minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY } = schema;
    return value < minimum || value > maximum ? fault(`a whole number from ${minimum} to ${maximum}`) : [];
  }
  if (typeof value === "string") {
    if (value.length < (schema.minLength ?? 0)) return fault("text");
    return schema.pattern !== undefined && !new RegExp(schema.pattern).test(value)
      ? fault(`text like ${schema.pattern}`)
      : [];
  }
  if (Array.isArray(value)) {
    const { items } = schema;
    return items ? value.flatMap((item, i) => faultsOf(item, items, `${where}[${i}]`)) : [];
  }
  return isJsonObject(value) ? objectFaults(value, schema, where) : [];
}

function objectFaults(value: Readonly<Record<string, unknown>>, schema: Schema, where: string): Fault[] {
  const { properties = {}, required = [], additionalProperties = true } = schema;
  const below = (name: string) => (where === "" ? name : `${where}.${name}`);
  const missing = required.filter((name) => value[name] === undefined);
  return [
    ...missing.map((name) => ({ where: below(name), got: undefined, want: "a value" })),
    ...Object.entries(value).flatMap(([name, inner]): Fault[] => {
      const known = properties[name];
      if (known) return faultsOf(inner, known, below(name));
      if (additionalProperties) return [];
      const meant = nearestWord(name, Object.keys(properties));
      const want = meant === undefined ? `one of ${Object.keys(properties).join(", ")}` : below(meant);
      return [{ where: below(name), got: "a value of that name", want }];
    }),
  ];
}

const WORDS: Readonly<Record<Type, string>> = {
  object: "a mapping",
  array: "a list",
  string: "text",
  integer: "a whole number",
  boolean: "true or false",
  null: "nothing",
};

function isOf(value: unknown, type: Type): boolean {
  switch (type) {
    case "object":
      return isJsonObject(value);
    case "array":
      return Array.isArray(value);
    case "string":
      return typeof value === "string";
    case "integer":
      return Number.isInteger(value);
    case "boolean":
      return typeof value === "boolean";
    case "null":
      return value === null;
  }
}
