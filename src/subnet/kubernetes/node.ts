// What flannel keeps of a Kubernetes Node (core/v1): a dozen strings out of some twelve kilobytes. Pure.

import { isJsonObject } from "../../config/json_fields.ts";
import { FAMILIES, type Family, type PerFamily } from "../../ip/family.ts";
import { isNetwork, type Prefix, parsePrefix, prefixFamily } from "../../ip/prefix.ts";
import { ANNOTATION_NAMES, type Annotations } from "./annotations.ts";

export interface KubeNode {
  readonly name: string;
  readonly uid: string;
  /** RFC 3339: the older of two nodes with one subnet keeps it. */
  readonly createdAt: string;
  readonly resourceVersion: string;
  /** spec.podCIDRs, or spec.podCIDR where a server knows only that. */
  readonly podCidrs: readonly string[];
  readonly annotations: Annotations;
  /** The condition NetworkUnavailable: "True", "False", …; undefined when nobody has set it, and of other nodes. */
  readonly networkUnavailable: string | undefined;
}

/** Reads Nodes as JSON.parse gave them; `prefix` as fullPrefix makes it. */
export class NodeReader {
  readonly #names: readonly (readonly [(typeof ANNOTATION_NAMES)[number], string])[];

  constructor(prefix: string) {
    this.#names = ANNOTATION_NAMES.map((name) => [name, `${prefix}${name}`]);
  }

  /** undefined for what is no Node. */
  read(value: unknown): KubeNode | undefined {
    if (!isJsonObject(value) || !isJsonObject(value.metadata)) return undefined;
    const { name, uid, creationTimestamp, resourceVersion, annotations } = value.metadata;
    if (typeof name !== "string" || typeof resourceVersion !== "string") return undefined;
    const spec = isJsonObject(value.spec) ? value.spec : {};
    const status = isJsonObject(value.status) ? value.status : {};
    return {
      name,
      uid: textOr(uid, ""),
      createdAt: textOr(creationTimestamp, ""),
      resourceVersion,
      podCidrs: podCidrsOf(spec),
      annotations: isJsonObject(annotations) ? this.#annotations(annotations) : {},
      networkUnavailable: conditionOf(status.conditions, "NetworkUnavailable"),
    };
  }

  #annotations(all: Readonly<Record<string, unknown>>): Annotations {
    const found: Record<string, string> = {};
    for (const [name, full] of this.#names) {
      const text = all[full];
      if (typeof text === "string") found[name] = text;
    }
    return found;
  }
}

/** Whether flannel would do the same with both: most updates of a node are its kubelet's heartbeats. */
export function sameForFlannel(a: KubeNode, b: KubeNode): boolean {
  if (a.uid !== b.uid || a.networkUnavailable !== b.networkUnavailable) return false;
  if (a.podCidrs.length !== b.podCidrs.length || a.podCidrs.some((cidr, i) => cidr !== b.podCidrs[i])) return false;
  return ANNOTATION_NAMES.every((name) => a.annotations[name] === b.annotations[name]);
}

/** The node's subnets, the first of each family; a string says which pod CIDR is none. */
export function subnetsOf({ podCidrs }: Pick<KubeNode, "podCidrs">): PerFamily<Prefix> | string {
  const found: { -readonly [F in Family]?: Prefix } = {};
  for (const text of podCidrs) {
    const prefix = parsePrefix(text);
    if (!prefix || !isNetwork(prefix))
      return `its pod CIDR ${JSON.stringify(text).slice(0, 80)} is no subnet such as 10.244.1.0/24`;
    found[prefixFamily(prefix)] ??= prefix;
  }
  return found;
}

/** By age, then name: of two nodes with one subnet the first keeps it. */
export function olderFirst(a: NodeAge, b: NodeAge): number {
  return a.createdAt < b.createdAt ? -1 : a.createdAt > b.createdAt ? 1 : a.name < b.name ? -1 : 1;
}

type NodeAge = Pick<KubeNode, "createdAt" | "name">;

/** Whether a subnet is there in any family. */
export function hasSubnet(subnets: PerFamily<Prefix>): boolean {
  return FAMILIES.some((family) => subnets[family] !== undefined);
}

function podCidrsOf({ podCIDRs, podCIDR }: Readonly<Record<string, unknown>>): readonly string[] {
  const list = Array.isArray(podCIDRs) ? podCIDRs.filter((each) => typeof each === "string" && each !== "") : [];
  if (list.length > 0) return list as string[];
  return typeof podCIDR === "string" && podCIDR !== "" ? [podCIDR] : [];
}

function conditionOf(conditions: unknown, type: string): string | undefined {
  if (!Array.isArray(conditions)) return undefined;
  for (const condition of conditions) {
    if (isJsonObject(condition) && condition.type === type) return textOr(condition.status, "");
  }
  return undefined;
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === "string" ? value : otherwise;
}
