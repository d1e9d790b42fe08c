// Whether a text is a network configuration that flanneld can run with, and what it means. The checks are flanneld's own.

import { backendOfType } from "../../backend/backends.ts";
import { type Fault, gather } from "../../config/fault.ts";
import { isJsonObject } from "../../config/json_fields.ts";
import { parseJson } from "../../config/json_syntax.ts";
import { parseNetworkConfig } from "../../config/net_conf.ts";
import type { SubnetRange } from "../../config/network.ts";
import { type Plan, planOf } from "../../daemon/prepare.ts";
import { FAMILIES, type Family } from "../../ip/family.ts";
import { subnetCount } from "../../subnet/allocation.ts";
import type { Registry } from "../../subnet/registry.ts";
import { ipv4NeededBy } from "../../subnet/registry_manager.ts";
import { isSecret, NOT_SHOWN } from "./change.ts";

export type Checked =
  | { readonly kind: "right"; readonly plan: Plan; readonly warnings: readonly string[] }
  /** All that is wrong. */
  | { readonly kind: "wrong"; readonly faults: readonly Fault[]; readonly warnings: readonly string[] };

/** `source`: where the text is from, for messages. `store`: where it is to be, if it matters. */
export function checkConfig(text: string, source: string, store?: Registry): Checked {
  const faults: Fault[] = [];
  const ipv4Needed = store && ipv4NeededBy(store);
  const config = gather(faults, () => parseNetworkConfig(text, source, ipv4Needed));
  if (!config) {
    // flanneld comes to the backend's part only when the rest is right; who mends a text wants to know at once.
    const known = new Set(faults.map(({ where }) => where));
    const more: Fault[] = [];
    gather(more, () => checkBackend(text, source));
    return { kind: "wrong", faults: [...faults, ...more.filter(({ where }) => !known.has(where))], warnings: [] };
  }
  const plan = gather(faults, () => planOf(config, source));
  if (!plan) return { kind: "wrong", faults, warnings: config.warnings };
  return { kind: "right", plan, warnings: plan.warnings };
}

function checkBackend(text: string, source: string): void {
  const raw = parseJson(text, source);
  const fields = isJsonObject(raw) ? Object.entries(raw) : [];
  const backend = fields.findLast(([key]) => key.toLowerCase() === "backend")?.[1];
  if (!isJsonObject(backend) || typeof backend.Type !== "string" || backend.Type === "") return;
  backendOfType(backend.Type.toLowerCase(), `${source}: Backend.Type`).config(backend, `${source}: Backend`);
}

const FAMILY_NAMES: Record<Family, string> = { ipv4: "IPv4", ipv6: "IPv6" };

/** What a right configuration means, one line each. */
export function meaningOf({ config, backend, backendConfig }: Plan): string[] {
  const lines = FAMILIES.flatMap((family) => {
    const range = config.ranges[family];
    return range ? [`${FAMILY_NAMES[family]} network ${range.network}: ${rangeText(range)}`] : [];
  });
  const options = isJsonObject(backendConfig) ? Object.entries(backendConfig) : [];
  const given = options.filter(([, value]) => value !== "");
  const shown = given.map(([name, value]) => `${name} ${isSecret(name) ? NOT_SHOWN : String(value)}`).join(", ");
  return [...lines, `backend ${backend.type}${shown === "" ? "" : `: ${shown}`}`];
}

function rangeText(range: SubnetRange): string {
  const count = subnetCount(range);
  return `${count} subnet${count === 1n ? "" : "s"} of /${range.subnetLength}, ${range.first} to ${range.last}, one for each node`;
}
