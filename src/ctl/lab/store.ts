// The store that all nodes of a lab share: one file of the embedded kind. flannelctl writes the network configuration
// and reads who leased what.

import type { Address } from "../../ip/address.ts";
import { FAMILIES, type PerFamily } from "../../ip/family.ts";
import type { Prefix } from "../../ip/prefix.ts";
import { parseLeaseAttributes } from "../../lease/attributes.ts";
import { parseLeaseKey } from "../../lease/key.ts";
import type { Registry } from "../../subnet/registry.ts";
import type { Lab } from "./layout.ts";
import { networkConfigOf } from "./layout.ts";

/** A lease as an operator reads it; what no node wrote properly is not one. */
export interface LabLease {
  /** Node name, "?" for a public IP that no node has. */
  readonly node: string;
  readonly subnet: PerFamily<Prefix>;
  readonly publicIp: PerFamily<Address>;
  /** Backend data as stored, by family; for vxlan it holds the VTEP's MAC. */
  readonly backendData: PerFamily<unknown>;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | undefined;
}

async function openStore(lab: Lab, signal: AbortSignal): Promise<Registry> {
  const { EmbeddedRegistry } = await import("../../subnet/embedded.ts");
  return await EmbeddedRegistry.open(lab.storeFile, {}, signal);
}

export async function writeNetworkConfig(lab: Lab, signal: AbortSignal): Promise<void> {
  using store = await openStore(lab, signal);
  await store.setConfig(JSON.stringify(networkConfigOf(lab.options)), signal);
}

export async function readLeases(lab: Lab, signal: AbortSignal): Promise<LabLease[]> {
  using store = await openStore(lab, signal);
  const { entries } = await store.entries(signal);
  const leases = entries.flatMap(({ key, value, expiresAt }) => {
    const subnet = parseLeaseKey(key);
    const attributes = parseLeaseAttributes(value);
    if (!subnet || "kind" in attributes) return [];
    const { publicIp, backendData } = attributes;
    return [{ node: nodeWith(lab, publicIp), subnet, publicIp, backendData, expiresAt }];
  });
  const order = new Map(lab.nodes.map((node, i) => [node.name, i]));
  return leases.sort((a, b) => (order.get(a.node) ?? lab.nodes.length) - (order.get(b.node) ?? lab.nodes.length));
}

function nodeWith(lab: Lab, publicIp: PerFamily<Address>): string {
  const node = lab.nodes.find(({ address }) =>
    FAMILIES.some((family) => publicIp[family] !== undefined && publicIp[family] === address[family]),
  );
  return node?.name ?? "?";
}

/** `VtepMAC` of backend data, as vxlan's `{"VNI":1,"VtepMAC":"…"}` has it. */
export function vtepMac(backendData: unknown): string | undefined {
  const mac = (backendData as { VtepMAC?: unknown } | null | undefined)?.VtepMAC;
  return typeof mac === "string" ? mac : undefined;
}
