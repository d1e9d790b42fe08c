// Kubernetes as the store of all nodes, in the words in which tests speak of the embedded one: leases by key. A peer is a Node that nobody runs; node n is the
// Node node<n>, and gets its subnet when its flanneld starts, unless a test has reserved one.

import { writeFileSync } from "node:fs";
import { type Family, familiesOf, type PerFamily } from "../../src/ip/family.ts";
import { addressAt, makePrefix, networkOf, type Prefix, parsePrefix, subnetAfter } from "../../src/ip/prefix.ts";
import { formatLeaseAttributes, parseLeaseAttributes } from "../../src/lease/attributes.ts";
import { formatLeaseKey, parseLeaseKey } from "../../src/lease/key.ts";
import { annotationsOf, attributesFrom, fullPrefix } from "../../src/subnet/kubernetes/annotations.ts";
import { hasSubnet, type KubeNode, NodeReader, subnetsOf } from "../../src/subnet/kubernetes/node.ts";
import type { RegistryEntry, Revision } from "../../src/subnet/registry.ts";
import type { KubeCluster } from "../kubernetes/cluster.ts";
import type { PeerStore } from "./store.ts";

const PREFIX = fullPrefix("flannel.alpha.coreos.com");
/** Node n has the subnet number 20 + n: tests' peers have those below, and those above 100. */
const FIRST_SUBNET = 20;
const LENGTHS: Record<Family, number> = { ipv4: 24, ipv6: 64 };

interface NodeOf {
  readonly n: number;
  readonly address: Readonly<Record<Family, string>>;
}

export class KubeStore implements PeerStore {
  readonly cluster: KubeCluster;
  readonly configFile: string;
  readonly #nodes: readonly NodeOf[];
  readonly #reader = new NodeReader(PREFIX);
  readonly #reserved = new Map<number, readonly string[]>();
  readonly #assigned = new Set<number>();
  #networks: readonly string[] = [];

  constructor(cluster: KubeCluster, configFile: string, nodes: readonly NodeOf[]) {
    this.cluster = cluster;
    this.configFile = configFile;
    this.#nodes = nodes;
  }

  async configure(config: object | string): Promise<void> {
    const text = typeof config === "string" ? config : JSON.stringify(config);
    writeFileSync(this.configFile, text);
    const { Network, IPv6Network, EnableIPv4 = true, EnableIPv6 = false } = JSON.parse(text);
    this.#networks = [...(EnableIPv4 ? [Network] : []), ...(EnableIPv6 ? [IPv6Network] : [])];
  }

  /** Registers node n, as its kubelet does. */
  async register(n: number): Promise<void> {
    const conditions = [{ type: "Ready", status: "True", reason: "KubeletReady", message: "" }];
    await this.cluster.create({ metadata: { name: `node${n}` }, spec: {}, status: { conditions } });
  }

  /** Gives node n its subnets, once; `before` are those that it had when it ran the last time. */
  assign(n: number, before: PerFamily<Prefix> = {}): void {
    if (this.#assigned.has(n)) return;
    this.#assigned.add(n);
    const had = familiesOf(before).map((family) => networkOf(before[family] as Prefix));
    const subnets = this.#reserved.get(n) ?? (had.length > 0 ? had : this.subnets(FIRST_SUBNET + n));
    this.cluster.assign(`node${n}`, subnets);
  }

  /** Subnets number `n` of the network. */
  subnets(n: number): string[] {
    return this.#networks.map((text) => {
      const network = parsePrefix(text);
      if (!network) throw new RangeError(`${text} is no network`);
      const first = makePrefix(addressAt(networkOf(network), 0n), LENGTHS[text.includes(":") ? "ipv6" : "ipv4"]);
      return subnetAfter(first, BigInt(n));
    });
  }

  async entries(): Promise<readonly RegistryEntry[]> {
    return (await this.cluster.nodes()).flatMap((json) => {
      const node = this.#reader.read(json);
      const [subnets, attributes] = [node && subnetsOf(node), node && attributesFrom(node.annotations)];
      if (typeof subnets !== "object" || typeof attributes !== "object") return [];
      const revision = (node?.resourceVersion ?? "") as Revision;
      const value = formatLeaseAttributes(attributes);
      return [{ key: formatLeaseKey(subnets), value, reserved: true, expiresAt: undefined, revision }];
    });
  }

  async keys(): Promise<string[]> {
    return (await this.entries()).map(({ key }) => key).sort();
  }

  async entry(key: string): Promise<RegistryEntry> {
    const found = (await this.entries()).find((entry) => entry.key === key);
    if (!found) throw new Error(`the store has no ${key}, only ${await this.keys()}`);
    return found;
  }

  async put(key: string, value: object | string): Promise<void> {
    const attributes = parseLeaseAttributes(typeof value === "string" ? value : JSON.stringify(value));
    const subnet = parseLeaseKey(key);
    if ("kind" in attributes || !subnet) throw new Error(`no Node can say ${key}: ${JSON.stringify(value)}`);
    const cidrs = [subnet.ipv4, subnet.ipv6].filter((each) => each !== undefined);
    const own = this.#nodes.find(
      ({ address }) => address.ipv4 === attributes.publicIp.ipv4 || address.ipv6 === attributes.publicIp.ipv6,
    );
    if (own) this.#reserved.set(own.n, cidrs);
    const name = own ? `node${own.n}` : nameOf(key);
    if (own && attributes.backendType === "") return;
    if (own) this.assign(own.n);
    const entries = Object.entries(annotationsOf(attributes)).map(([short, text]) => [
      `${PREFIX}${short}`,
      text ?? null,
    ]);
    const exists = (await this.cluster.nodes()).some(({ metadata }) => metadata.name === name);
    if (!exists)
      await this.cluster.create({ metadata: { name }, spec: { podCIDR: cidrs[0], podCIDRs: cidrs }, status: {} });
    await this.cluster.annotate(name, Object.fromEntries(entries));
  }

  /** The Node of a peer that nobody runs goes; one of node n stays, and only says no longer that it is flannel's. */
  async remove(key: string): Promise<void> {
    const holder = (await this.cluster.nodes()).map((json) => this.#reader.read(json)).find((node) => isOf(key, node));
    if (!holder || !this.#nodes.some(({ n }) => holder.name === `node${n}`))
      return await this.cluster.remove(nameOf(key));
    const names = Object.keys(holder.annotations).map((short) => [`${PREFIX}${short}`, null]);
    await this.cluster.annotate(holder.name, Object.fromEntries(names));
  }
}

const nameOf = (key: string) => `peer-${key.replaceAll(/[^a-z0-9]+/g, "-").replace(/-$/, "")}`;

function isOf(key: string, node: KubeNode | undefined): boolean {
  const subnets = node && subnetsOf(node);
  return typeof subnets === "object" && hasSubnet(subnets) && formatLeaseKey(subnets) === key;
}
