// What a backend calls to read its own `Backend` object: it lists its options, and gets their values or one ConfigError with every fault.

import { ConfigError, type Fault } from "./fault.ts";
import { type Fields, type FieldValues, isJsonObject, quote, readFields } from "./json_fields.ts";

/** Adds a fault of one option; one that has been named already stays as it was. */
export type Wrong<S extends Fields> = (name: keyof S & string, got: string | undefined, want: string) => void;

/**
 * Throws ConfigError; an option is named as `net-conf.json: Backend.VNI`. `check` looks at what the fields alone do not say; a wrong option has its default
 * there, so that all faults are found at once.
 */
export function readBackendOptions<const S extends Fields>(
  raw: unknown,
  fields: S,
  where = "net-conf.json: Backend",
  check: (options: FieldValues<S>, wrong: Wrong<S>) => void = () => {},
): FieldValues<S> {
  if (!isJsonObject(raw)) {
    throw new ConfigError([{ where, got: raw === undefined ? undefined : quote(raw), want: "a JSON object" }]);
  }
  const faults: Fault[] = [];
  const at = (name: string) => `${where}.${name}`;
  const options = readFields(raw, fields, at, faults);
  check(options, (name, got, want) => {
    if (!faults.some((fault) => fault.where === at(name))) faults.push({ where: at(name), got, want });
  });
  if (faults.length > 0) throw new ConfigError(faults);
  return options;
}
