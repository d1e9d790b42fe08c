// What a new configuration changes, key by key, and what that means for a network that runs: flanneld reads its configuration when it
// starts, so a change takes hold node by node.

import { isJsonObject, quote } from "../../config/json_fields.ts";
import type { NetworkConfig } from "../../config/network.ts";
import { fitsRanges } from "../../subnet/allocation.ts";
import { knownLeases } from "../../subnet/known_lease.ts";
import type { RegistryEntry } from "../../subnet/registry.ts";

export interface ChangedKey {
  /** "Backend.VNI". */
  readonly key: string;
  /** JSON; undefined where there is none. */
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** Options that no terminal and no log should keep: wireguard's and ipsec's pre-shared keys. */
export function isSecret(key: string): boolean {
  return /psk|secret|password|private/i.test(key);
}

export const NOT_SHOWN = "(not shown)";

/** A lease that a new configuration has no room for. */
export interface Endangered {
  readonly key: string;
  readonly publicIp: string;
  readonly reserved: boolean;
}

/** The keys whose values differ, in the order of the new text. Texts that do not parse have none. */
export function changedKeys(before: string | undefined, after: string): ChangedKey[] {
  const old = leaves(before);
  const all = new Map([...leaves(after).keys(), ...old.keys()].map((key) => [key, undefined]));
  const next = leaves(after);
  return [...all.keys()].flatMap((key) => {
    const change = { key, before: old.get(key), after: next.get(key) };
    if (change.before === change.after) return [];
    const shown = (value: string | undefined) => (value !== undefined && isSecret(key) ? NOT_SHOWN : value);
    return [{ key, before: shown(change.before), after: shown(change.after) }];
  });
}

function leaves(text: string | undefined): Map<string, string> {
  const found = new Map<string, string>();
  const walk = (value: unknown, path: string) => {
    if (isJsonObject(value))
      for (const [key, field] of Object.entries(value)) walk(field, path === "" ? key : `${path}.${key}`);
    else found.set(path, quote(value));
  };
  try {
    walk(JSON.parse(text ?? "{}"), "");
  } catch {
    // Nothing to compare with.
  }
  return found;
}

/** Leases that have no place in `after`, and had one `before` (when that is known), in order of creation. */
export function endangeredLeases(
  before: NetworkConfig | undefined,
  after: NetworkConfig,
  entries: readonly RegistryEntry[],
): Endangered[] {
  return knownLeases(entries)
    .filter(({ subnet }) => !fitsRanges(after.ranges, subnet) && (!before || fitsRanges(before.ranges, subnet)))
    .map(({ entry, attributes }) => {
      const { ipv4, ipv6 } = attributes?.publicIp ?? {};
      return { key: entry.key, publicIp: ipv4 ?? ipv6 ?? "an unknown node", reserved: entry.reserved };
    });
}

/** What the operator has to do and to expect, one line each; none when nothing of weight changes. */
export function consequences(before: NetworkConfig | undefined, after: NetworkConfig): string[] {
  if (!before) return [];
  const ranges = !same(before.ranges, after.ranges);
  const backend = before.backend.type !== after.backend.type || !same(before.backend.raw, after.backend.raw);
  if (!ranges && !backend && before.enableNftables === after.enableNftables) return [];
  const lines = [
    "flanneld reads the configuration when it starts: it takes hold on each node when its flanneld is restarted",
  ];
  if (backend)
    lines.push(
      "nodes with the old backend options and nodes with the new ones do not reach each other until all were restarted",
    );
  if (ranges)
    lines.push(
      "until all were restarted, nodes with the old network refuse leases outside it, and the other way round",
    );
  return lines;
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
