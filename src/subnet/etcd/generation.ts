// Which generation of etcd's API holds the network, as --etcd-api=auto decides it: the one whose `<prefix>/config` has a text,
// v3 before v2. The key spaces of the two are separate; two texts that differ are two networks, and no guess is made.

import { isDeepStrictEqual } from "node:util";
import type { StoredConfig } from "../registry.ts";
import { StoreError } from "../store_error.ts";

/** What one generation answered when asked for the configuration. */
export type Answer =
  | { readonly kind: "read"; readonly stored: StoredConfig }
  | { readonly kind: "failed"; readonly error: StoreError };

export type Generation = "v3" | "v2";

export type Decision =
  | { readonly kind: "chosen"; readonly generation: Generation; readonly stored: StoredConfig }
  /** No configuration yet; `offered` are those that may get one. */
  | { readonly kind: "open"; readonly offered: readonly Generation[] }
  | { readonly kind: "failed"; readonly error: StoreError };

/** `configKey` and `place` are for messages. */
export function decideGeneration(v3: Answer, v2: Answer, configKey: string, place: string): Decision {
  if (v3.kind === "failed" && v2.kind === "failed") return { kind: "failed", error: bothFailed(v3.error, v2.error) };
  // A server of etcd 2 speaks no gRPC ("invalid"); what else is wrong with the connection would have failed v2 as well.
  if (v3.kind === "failed" && !["absent", "invalid"].includes(v3.error.reason)) return v3;
  if (v3.kind === "read" && v3.stored.text !== undefined) {
    const differences = v2.kind === "read" ? differencesOf(v3.stored.text, v2.stored.text) : [];
    if (differences.length === 0) return { kind: "chosen", generation: "v3", stored: v3.stored };
    const message =
      `cannot choose between etcd v3 and v2 at ${place}: both hold ${configKey}, and they differ (${differences.join("; ")}); ` +
      "give --etcd-api=3 or --etcd-api=2, or make them equal";
    return { kind: "failed", error: new StoreError("invalid", place, message) };
  }
  if (v2.kind === "read" && v2.stored.text !== undefined) {
    return { kind: "chosen", generation: "v2", stored: v2.stored };
  }
  // Nothing in v3, and v2 may hold it: only a server that has no v2 says that it does not.
  if (v2.kind === "failed" && v2.error.reason !== "absent") return v2;
  const offered: Generation[] = [];
  if (v3.kind === "read") offered.push("v3");
  if (v2.kind === "read") offered.push("v2");
  return { kind: "open", offered };
}

function bothFailed(v3: StoreError, v2: StoreError): StoreError {
  // That v2 is off as well explains nothing, and the same cause need not be read twice.
  if (v2.reason === "absent" || v2.message === v3.message || causeOf(v2) === causeOf(v3)) return v3;
  return new StoreError(v3.reason, v3.endpoint, `${v3.message}\nand with etcd's v2 API: ${v2.message}`, { cause: v3 });
}

/** Without which URL it was and what was to be done there. */
function causeOf({ message }: StoreError): string {
  return message.slice(message.indexOf(": ") + 2);
}

/** What differs, in words, none when the two mean the same; an absent text differs in nothing. */
function differencesOf(v3: string, v2: string | undefined): string[] {
  if (v2 === undefined || v3.trim() === v2.trim()) return [];
  const [a, b] = [fieldsOf(v3), fieldsOf(v2)];
  if (!a || !b) return [`${a ? "v2's" : "v3's"} is no JSON object`];
  const names = [...new Set([...a.keys(), ...b.keys()])];
  return names
    .filter((name) => !isDeepStrictEqual(a.get(name), b.get(name)))
    .map((name) => `${name}: ${shown(a.get(name))} in v3, ${shown(b.get(name))} in v2`);
}

function fieldsOf(text: string): Map<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? new Map(Object.entries(value))
      : undefined;
  } catch {
    return undefined;
  }
}

function shown(value: unknown): string {
  return value === undefined ? "not given" : JSON.stringify(value);
}
