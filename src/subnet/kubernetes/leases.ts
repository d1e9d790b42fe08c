// The leases of a cluster as tools show them: one for each Node that flannel has, read once, judged as flanneld would. Nothing is written.

import { readFileSync } from "node:fs";
import { formatLeaseAttributes } from "../../lease/attributes.ts";
import { formatLeaseKey } from "../../lease/key.ts";
import type { LeaseSource, Revision, ShownEntry, StoredConfig } from "../registry.ts";
import { attributesFrom, fullPrefix } from "./annotations.ts";
import type { KubeApi } from "./api.ts";
import { hasSubnet, type KubeNode, NodeReader, olderFirst, subnetsOf } from "./node.ts";

export interface KubernetesLeasesOptions {
  readonly annotationPrefix: string;
  /** The network configuration's file, which a machine that is no node need not have. */
  readonly configPath: string;
}

export class KubernetesLeases implements LeaseSource {
  readonly kind = "kubernetes";
  readonly #api: KubeApi;
  readonly #options: KubernetesLeasesOptions;

  constructor(api: KubeApi, options: KubernetesLeasesOptions) {
    this.#api = api;
    this.#options = options;
  }

  get description(): string {
    return `Kubernetes API server ${this.#api.server}`;
  }

  async config(): Promise<StoredConfig> {
    return { text: readIfThere(this.#options.configPath), revision: "" as Revision };
  }

  async entries(signal: AbortSignal): Promise<{ readonly entries: readonly ShownEntry[] }> {
    const reader = new NodeReader(fullPrefix(this.#options.annotationPrefix));
    const nodes: KubeNode[] = [];
    const take = (value: unknown) => {
      const node = reader.read(value);
      if (node) nodes.push(node);
    };
    await this.#api.listNodes("0", "", take, signal);
    return { entries: nodes.sort(olderFirst).flatMap(entryOf) };
  }

  async expiry(): Promise<undefined> {
    return undefined; // a Node's lease lasts as long as the Node
  }

  [Symbol.dispose](): void {
    this.#api[Symbol.dispose]();
  }
}

/** None for a node that is not flannel's. */
function entryOf(node: KubeNode): ShownEntry[] {
  const attributes = attributesFrom(node.annotations);
  if (attributes === undefined) return [];
  const subnets = subnetsOf(node);
  const known = typeof subnets !== "string" && hasSubnet(subnets);
  const fault =
    typeof attributes === "string" ? attributes : known ? undefined : typeof subnets === "string" ? subnets : NO_SUBNET;
  return [
    {
      key: known ? formatLeaseKey(subnets) : node.podCidrs.join(" ") || "-",
      value: typeof attributes === "string" ? JSON.stringify(node.annotations) : formatLeaseAttributes(attributes),
      reserved: false,
      expiresAt: undefined,
      revision: node.resourceVersion as Revision,
      node: node.name,
      fault,
    },
  ];
}

const NO_SUBNET = "it has no pod CIDR";

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
