// What a backend calls to read its own `Backend` object: it lists its options, and gets their values or one ConfigError with every fault.

import { ConfigError, type Fault } from "./fault.ts";
import { type Fields, type FieldValues, isJsonObject, quote, readFields } from "./json_fields.ts";

/** Throws ConfigError; an option is named as `net-conf.json: Backend.VNI`. */
export function readBackendOptions<const S extends Fields>(
  raw: unknown,
  fields: S,
  where = "net-conf.json: Backend",
): FieldValues<S> {
  if (!isJsonObject(raw)) {
    throw new ConfigError([{ where, got: raw === undefined ? undefined : quote(raw), want: "a JSON object" }]);
  }
  const faults: Fault[] = [];
  const options = readFields(raw, fields, (name) => `${where}.${name}`, faults);
  if (faults.length > 0) throw new ConfigError(faults);
  return options;
}
