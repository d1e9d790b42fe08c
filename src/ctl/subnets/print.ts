// Leases as a table, one lease in full, and both as JSON.

import { FAMILIES, mapFamilies } from "../../ip/family.ts";
import { tableLines } from "../terminal.ts";
import type { Listed } from "./listed.ts";

const SECOND_MS = 1_000;
const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
] as const;

/** "23h 59m", "59s"; two units are enough. */
export function durationText(ms: number): string {
  let rest = Math.max(0, Math.floor(ms / SECOND_MS));
  const parts: string[] = [];
  for (const [unit, seconds] of UNITS) {
    const count = Math.floor(rest / seconds);
    rest -= count * seconds;
    if (count > 0 && parts.length < 2) parts.push(`${count}${unit}`);
    else if (parts.length > 0) break;
  }
  return parts.join(" ") || "0s";
}

/** Header and one line for each lease; `now` in milliseconds since the epoch. */
export function leaseTable(leases: readonly Listed[], now: number): string[] {
  // In Kubernetes alone a lease has its node's name, and no end.
  const named = leases.some(({ entry }) => entry.node !== undefined);
  const name = ({ entry }: Listed) => (named ? [entry.node ?? "-"] : []);
  const rows = leases.map((lease) => [
    ...name(lease),
    subnetText(lease),
    FAMILIES.flatMap((family) => lease.publicIp[family] ?? []).join(" ") || "?",
    lease.backendType || "-",
    nodeData(lease) || "-",
    ...(named ? [] : [endText(lease, now)]),
    lease.fault === undefined ? "" : `refused: ${lease.fault}`,
  ]);
  const heads = ["SUBNET", "PUBLIC IP", "BACKEND", "NODE DATA", ...(named ? [] : ["ENDS IN"]), ""];
  return tableLines([[...(named ? ["NODE"] : []), ...heads], ...rows]);
}

export function subnetText({ entry, subnet }: Listed): string {
  return FAMILIES.flatMap((family) => subnet[family] ?? []).join(" ") || entry.key;
}

export function endText({ entry, endsAt }: Listed, now: number): string {
  if (entry.reserved) return "reserved";
  return endsAt === undefined ? "-" : durationText(endsAt - now);
}

/** What other nodes program of it: the VTEP's MAC with vxlan, a public key with wireguard; else nothing that fits a table. */
function nodeData({ backendData }: Listed): string {
  const found = FAMILIES.flatMap((family) => {
    const data = backendData[family] as Readonly<Record<string, unknown>> | null | undefined;
    const shown = data?.VtepMAC ?? data?.PublicKey;
    return typeof shown === "string" ? [shown] : [];
  });
  return [...new Set(found)].join(" ");
}

export function leaseJson(lease: Listed, now: number): object {
  const { entry, subnet, publicIp, backendType, backendData, endsAt, fault } = lease;
  return {
    key: entry.key,
    ...(entry.node !== undefined && { node: entry.node }),
    subnet,
    publicIp,
    backendType,
    backendData: mapFamilies(backendData, (data) => data),
    reserved: entry.reserved,
    expiresAt: endsAt === undefined ? null : new Date(endsAt).toISOString(),
    ttlSeconds: endsAt === undefined ? null : Math.max(0, Math.floor((endsAt - now) / SECOND_MS)),
    fault: fault ?? null,
  };
}

/** One lease: what is known of it, and its value with every field on a line. */
export function leaseText(lease: Listed, now: number): string {
  const { entry, fault } = lease;
  const lines = [
    ...(entry.node === undefined ? [] : [`node     ${entry.node}`]),
    `key      ${entry.key}`,
    `subnet   ${subnetText(lease)}`,
    ...(entry.node === undefined ? [`ends in  ${endText(lease, now)}`] : []),
    ...(fault === undefined ? [] : [`refused  ${fault}`]),
  ];
  return `${lines.join("\n")}\n${prettyValue(entry.value)}`;
}

function prettyValue(value: string): string {
  try {
    return JSON.stringify(JSON.parse(value), undefined, 2);
  } catch {
    return value;
  }
}
