// A lease as Kubernetes keeps it: annotations of the node, in upstream's names and forms (kube-flannel's Documentation/kubernetes.md). Pure.
//
//   <prefix>kube-subnet-manager  "true": this node is flannel's
//   <prefix>backend-type         as in the network configuration; "" for udp and alloc
//   <prefix>backend-data         JSON, "null" for backends that publish nothing; backend-v6-data of IPv6, only where the node has it
//   <prefix>public-ip            address; public-ipv6
// and what an operator says of the node, read only:
//   <prefix>node-public-ip(v6)       as --public-ip(v6) would
//   <prefix>public-ip(v6)-overwrite  published in place of the node's own

import { type Address, familyOf, parseAddress } from "../../ip/address.ts";
import { FAMILIES, type Family, type PerFamily } from "../../ip/family.ts";
import type { LeaseAttributes } from "../../lease/lease.ts";

export type AnnotationName =
  | "kube-subnet-manager"
  | "backend-type"
  | "backend-data"
  | "backend-v6-data"
  | "public-ip"
  | "public-ipv6"
  | "node-public-ip"
  | "node-public-ipv6"
  | "public-ip-overwrite"
  | "public-ipv6-overwrite";

export const ANNOTATION_NAMES: readonly AnnotationName[] = [
  "kube-subnet-manager",
  "backend-type",
  "backend-data",
  "backend-v6-data",
  "public-ip",
  "public-ipv6",
  "node-public-ip",
  "node-public-ipv6",
  "public-ip-overwrite",
  "public-ipv6-overwrite",
];

/** Flannel's annotations of a node, by short name. */
export type Annotations = { readonly [N in AnnotationName]?: string };

const DATA: Record<Family, AnnotationName> = { ipv4: "backend-data", ipv6: "backend-v6-data" };
const PUBLIC_IP: Record<Family, AnnotationName> = { ipv4: "public-ip", ipv6: "public-ipv6" };
const OVERWRITE: Record<Family, AnnotationName> = { ipv4: "public-ip-overwrite", ipv6: "public-ipv6-overwrite" };
const WISHED: Record<Family, AnnotationName> = { ipv4: "node-public-ip", ipv6: "node-public-ipv6" };

/** "flannel.alpha.coreos.com" → "flannel.alpha.coreos.com/"; "example.com/net" → "example.com/net-", as upstream has it. */
export function fullPrefix(prefix: string): string {
  if (!prefix.includes("/")) return `${prefix}/`;
  return prefix.endsWith("/") || prefix.endsWith("-") ? prefix : `${prefix}-`;
}

/** What the node publishes, undefined when it is not flannel's; a string says what is wrong with it. */
export function attributesFrom(annotations: Annotations): LeaseAttributes | string | undefined {
  if (annotations["kube-subnet-manager"] !== "true") return undefined;
  const publicIp: { -readonly [F in Family]?: Address } = {};
  const backendData: { -readonly [F in Family]?: unknown } = {};
  for (const family of FAMILIES) {
    const given = annotations[PUBLIC_IP[family]];
    if (given !== undefined && given !== "") {
      const address = parseAddress(given);
      if (!address || familyOf(address) !== family) {
        return `its annotation ${PUBLIC_IP[family]} is ${excerpt(given)}, want an ${family} address`;
      }
      publicIp[family] = address;
    }
    const data = annotations[DATA[family]];
    if (data === undefined) continue;
    try {
      const parsed: unknown = data === "" ? null : JSON.parse(data);
      if (parsed !== null) backendData[family] = parsed;
    } catch {
      return `its annotation ${DATA[family]} is no JSON: ${excerpt(data)}`;
    }
  }
  if (!publicIp.ipv4 && !publicIp.ipv6) return "it has neither annotation public-ip nor public-ipv6";
  return { publicIp, backendType: (annotations["backend-type"] ?? "").toLowerCase(), backendData };
}

/** The annotations that publish `attributes`; undefined for those that must not be there. */
export function annotationsOf(attributes: LeaseAttributes): { readonly [N in AnnotationName]?: string | undefined } {
  const { publicIp, backendType, backendData } = attributes;
  const dataText = (family: Family) => JSON.stringify(backendData[family] ?? null);
  return {
    "kube-subnet-manager": "true",
    "backend-type": backendType,
    "backend-data": dataText("ipv4"),
    "backend-v6-data": publicIp.ipv6 ? dataText("ipv6") : undefined,
    "public-ip": publicIp.ipv4,
    "public-ipv6": publicIp.ipv6,
  };
}

/** The operator's word for the node's public IP; a string says what is wrong with it. */
export function wishedPublicIp(annotations: Annotations): PerFamily<Address> | string {
  return addressesAt(annotations, WISHED);
}

/** `publicIp` as it is published: an operator may have overwritten it. */
export function publishedIp(annotations: Annotations, publicIp: PerFamily<Address>): PerFamily<Address> | string {
  const overwritten = addressesAt(annotations, OVERWRITE);
  return typeof overwritten === "string" ? overwritten : { ...publicIp, ...overwritten };
}

function addressesAt(annotations: Annotations, names: Record<Family, AnnotationName>): PerFamily<Address> | string {
  const found: { -readonly [F in Family]?: Address } = {};
  for (const family of FAMILIES) {
    const text = annotations[names[family]];
    if (text === undefined || text === "") continue;
    const address = parseAddress(text);
    if (!address || familyOf(address) !== family) {
      return `this node's annotation ${names[family]} is ${excerpt(text)}, want an ${family} address`;
    }
    found[family] = address;
  }
  return found;
}

function excerpt(value: string): string {
  return JSON.stringify(value).slice(0, 80);
}
