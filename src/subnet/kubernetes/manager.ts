// The subnet manager over Kubernetes: a node's subnets are its pod CIDRs, its lease is annotations of the Node, and peers are the other Nodes. Requests and
// patches are upstream's, so that both read each other's nodes; what upstream polls or guesses is watched and told.

import { parseNetworkConfig } from "../../config/net_conf.ts";
import type { NetworkConfig } from "../../config/network.ts";
import type { Address } from "../../ip/address.ts";
import { type Family, familiesOf, type PerFamily } from "../../ip/family.ts";
import { contains, type Prefix } from "../../ip/prefix.ts";
import { formatLeaseKey } from "../../lease/key.ts";
import type { Lease, LeaseAttributes } from "../../lease/lease.ts";
import { type LeaseSet, LeaseSetBuilder, type LeaseSetContext } from "../../lease/set.ts";
import type { LeaseRequest, Remembered, SubnetManager } from "../manager.ts";
import { StoreError } from "../store_error.ts";
import { type RetryDelays, StoreRetry, type SubnetEvent } from "../store_retry.ts";
import { untilAborted } from "../until_aborted.ts";
import { readText } from "./access.ts";
import {
  type AnnotationName,
  annotationsOf,
  attributesFrom,
  fullPrefix,
  publishedIp,
  wishedPublicIp,
} from "./annotations.ts";
import type { KubeApi } from "./api.ts";
import { Claims } from "./claims.ts";
import { readyCondition, waitingCondition } from "./condition.ts";
import { type KubeNode, NodeReader, subnetsOf } from "./node.ts";
import { NodeWatch } from "./node_watch.ts";
import { isOlder } from "./resource_version.ts";
import { type Wish, Wishes } from "./wishes.ts";

export interface KubernetesOptions {
  readonly nodeName: string;
  /** --kube-annotation-prefix. */
  readonly annotationPrefix: string;
  /** --net-config-path. */
  readonly configPath: string;
  /** --set-node-network-unavailable. */
  readonly setCondition: boolean;
  readonly retry?: RetryDelays;
  readonly watchSeconds?: number;
  readonly random?: () => number;
  readonly now?: () => Date;
  readonly onEvent: (event: SubnetEvent) => void;
}

/** A server that comes back is noticed within two seconds, a connection that is being tried included, by thousands of nodes not at the same moment. */
export const KUBERNETES_RETRY: RetryDelays = { firstMs: 200, maxMs: 500, refusedMaxMs: 10_000 };

const CIDR_ADVICE: Record<Family, string> = {
  ipv4: "kube-controller-manager gives one with --allocate-node-cidrs=true and --cluster-cidr",
  ipv6: "kube-controller-manager gives one with --allocate-node-cidrs=true and an IPv6 network in --cluster-cidr",
};

export class KubernetesManager implements SubnetManager {
  readonly kind = "kubernetes";
  readonly #api: KubeApi;
  readonly #options: KubernetesOptions;
  readonly #prefix: string;
  readonly #reader: NodeReader;
  readonly #retry: StoreRetry;
  readonly #watch: NodeWatch;
  readonly #stop = new AbortController();
  /** The watch at work, once there is one: it serves all who ask, for as long as this object lives. */
  #watching: Promise<void> | undefined;
  /** Our Node as it was last read or written (#know). */
  #own: KubeNode | undefined;
  readonly #wishes = new Wishes();
  /** The last writing of our Node; never rejects. */
  #writing: Promise<void> = Promise.resolve();
  /** Read on the way here and not used yet, once: later it may be hours old. */
  #fresh: KubeNode | undefined;
  /** What our annotations must say but for what an operator overwrites, since the lease was acquired. */
  #attributes: LeaseAttributes | undefined;
  /** Whether the condition is said by now, and is to be kept. */
  #saidReady = false;
  #toldWaiting: string | undefined;

  /** Owns `api`. */
  constructor(api: KubeApi, options: KubernetesOptions) {
    const { annotationPrefix, retry = KUBERNETES_RETRY, random = Math.random, watchSeconds, onEvent } = options;
    this.#api = api;
    this.#options = options;
    this.#prefix = fullPrefix(annotationPrefix);
    this.#reader = new NodeReader(this.#prefix);
    this.#retry = new StoreRetry(retry, random, onEvent);
    this.#watch = new NodeWatch({
      api,
      own: options.nodeName,
      reader: this.#reader,
      retry: this.#retry,
      random,
      watchSeconds,
      latest: () => this.#own,
      written: () => this.#writing,
    });
  }

  get description(): string {
    return `Kubernetes API server ${this.#api.server}`;
  }

  async networkConfig(): Promise<NetworkConfig> {
    const { configPath } = this.#options;
    return parseNetworkConfig(readText(configPath), configPath);
  }

  async wishedPublicIp(signal: AbortSignal): Promise<PerFamily<Address>> {
    const node = await this.#read(signal);
    this.#fresh = node;
    const wished = wishedPublicIp(node.annotations);
    if (typeof wished === "string") throw new StoreError("invalid", this.description, wished);
    return wished;
  }

  wishedPublicIps(signal: AbortSignal): AsyncIterable<Wish> {
    return this.#wishes.follow(signal);
  }

  async remembered(_publicIp: PerFamily<Address>, signal: AbortSignal): Promise<Remembered> {
    const node = this.#own ?? (await this.#read(signal));
    const attributes = attributesFrom(node.annotations);
    return typeof attributes === "object" ? attributes : {};
  }

  async acquire({ ranges }: NetworkConfig, { attributes }: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    const acquire = async () => {
      for (;;) {
        const node = this.#fresh ?? (await this.#read(signal));
        this.#fresh = undefined;
        const subnet = this.#subnetOf(node, ranges);
        if (typeof subnet !== "string") return { node, subnet };
        await this.#waitForSubnet(node, subnet, ranges, signal);
      }
    };
    const { node, subnet } = await this.#retry.persist("reading this node", ["invalid"], acquire, signal);
    this.#toldWaiting = undefined;
    const publicIp = publishedIp(node.annotations, attributes.publicIp);
    if (typeof publicIp === "string") throw new StoreError("invalid", this.description, publicIp);
    this.#attributes = attributes;
    this.#saidReady = false;
    await this.#publish(node, signal);
    return { ...attributes, publicIp, key: formatLeaseKey(subnet), subnet, expiresAt: undefined };
  }

  async ready(_own: Lease, signal: AbortSignal): Promise<void> {
    if (!this.#options.setCondition) return;
    await this.#sayReady(signal);
    this.#saidReady = true;
  }

  async *leaseSets(context: LeaseSetContext, signal: AbortSignal): AsyncGenerator<LeaseSet, void, undefined> {
    const watching = this.#startWatch();
    const builder = new LeaseSetBuilder(context);
    const claims = new Claims(builder);
    using news = this.#watch.subscribe();
    let last: LeaseSet | undefined;
    let refused: ReadonlyMap<string, string> = new Map();
    while (!signal.aborted) {
      const names = await Promise.race([news.next(signal), watching]);
      if (signal.aborted || !names) return;
      for (const name of names) {
        if (name !== this.#options.nodeName) claims.set(name, this.#watch.nodes.get(name));
      }
      const set = builder.take();
      const nowRefused = claims.refused;
      if (!set && last && Bun.deepEquals(refused, nowRefused)) continue;
      refused = nowRefused;
      const next = set ?? (last && { ...last, changed: [], previous: last.number });
      if (!next) continue;
      last = next;
      const nodes = [...refused].map(([name, reason]) => [`node ${name}`, reason] as const);
      yield { ...next, refused: new Map([...next.refused, ...nodes]) };
    }
  }

  async keep(own: Lease, signal: AbortSignal): Promise<"lost" | "stopped"> {
    void this.#startWatch();
    const { nodeName } = this.#options;
    const uid = this.#own?.uid;
    let { epoch } = this.#watch;
    using news = this.#watch.subscribe();
    while (!signal.aborted) {
      const names = await news.next(signal);
      if (signal.aborted) break;
      if (!names.has(nodeName)) continue;
      const node = this.#watch.nodes.get(nodeName);
      if (!node || node.uid !== uid) return "lost";
      const before = this.#own;
      // A list from the server's cache may be older than our own patch.
      const comparable = epoch === this.#watch.epoch;
      if (before && comparable && isOlder(node.resourceVersion, before.resourceVersion)) continue;
      epoch = this.#watch.epoch;
      this.#know(node);
      if (!sameSubnets(node, own.subnet)) return "lost";
      await this.#restore(node, signal);
    }
    return "stopped";
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new Error("closed"));
    this.#api[Symbol.dispose]();
  }

  #startWatch(): Promise<void> {
    this.#watching ??= this.#watch.run(this.#stop.signal);
    this.#watching.catch(() => {}); // thrown to whoever waits for lease sets
    return this.#watching;
  }

  /** Our Node, for as long as it takes: an API server may come later than we, and so may the Node. */
  async #read(signal: AbortSignal): Promise<KubeNode> {
    const { nodeName } = this.#options;
    const read = async () => this.#take(await this.#api.node(nodeName, signal));
    try {
      return await this.#retry.persist("reading this node", ["invalid", "absent"], read, signal);
    } catch (error) {
      if (!(error instanceof StoreError && error.reason === "absent")) throw error;
      this.#tellWaiting(`there is no node ${nodeName} in the cluster yet: kubelet registers it; else check NODE_NAME`);
      await this.#untilNode(() => this.#watch.nodes.has(nodeName), signal);
      return await this.#read(signal);
    }
  }

  #take(value: unknown): KubeNode {
    const node = this.#reader.read(value);
    if (!node)
      throw new StoreError("unreachable", this.description, `${this.description} answered something that is no Node`);
    return this.#know(node);
  }

  #know(node: KubeNode): KubeNode {
    this.#own = node;
    this.#wishes.learn(node.annotations);
    return node;
  }

  /** The node's subnets in the families of the network; a string says what is missing. Throws StoreError when one is outside the network. */
  #subnetOf(node: KubeNode, ranges: NetworkConfig["ranges"]): PerFamily<Prefix> | string {
    const { configPath } = this.#options;
    const subnets = subnetsOf(node);
    const invalid = (what: string) =>
      new StoreError("invalid", this.description, `cannot use node ${node.name}: ${what}`);
    if (typeof subnets === "string") throw invalid(subnets);
    const subnet: { -readonly [F in Family]?: Prefix } = {};
    for (const family of familiesOf(ranges)) {
      const [network, own] = [ranges[family]?.network, subnets[family]];
      if (!own) return `node ${node.name} has no ${family} pod CIDR yet: ${CIDR_ADVICE[family]}`;
      if (network && !contains(network, own)) {
        throw invalid(
          `its pod CIDR ${own} is outside the network ${network} of ${configPath}; make them agree (--cluster-cidr)`,
        );
      }
      subnet[family] = own;
    }
    return subnet;
  }

  /** Waits until kube-controller-manager has given the node what is missing. Meanwhile the node must not say that its network is there. */
  async #waitForSubnet(
    node: KubeNode,
    missing: string,
    ranges: NetworkConfig["ranges"],
    signal: AbortSignal,
  ): Promise<void> {
    const { setCondition, nodeName, now = () => new Date() } = this.#options;
    this.#tellWaiting(missing);
    if (setCondition && node.networkUnavailable === "False") {
      this.#take(await this.#api.patchStatus(nodeName, waitingCondition(now(), missing), signal));
    }
    const has = () => {
      const seen = this.#watch.nodes.get(nodeName);
      const subnets = seen ? subnetsOf(seen) : {};
      return typeof subnets === "string" || familiesOf(ranges).every((family) => subnets[family]);
    };
    await this.#untilNode(has, signal);
  }

  /** Waits until `condition` holds of what is watched. */
  async #untilNode(condition: () => boolean, signal: AbortSignal): Promise<void> {
    const watching = this.#startWatch();
    using news = this.#watch.subscribe();
    while (!condition()) {
      await untilAborted(Promise.race([news.next(signal), watching]), signal);
      signal.throwIfAborted();
    }
  }

  /** Patches what our annotations lack, and nothing else. */
  async #publish(node: KubeNode, signal: AbortSignal): Promise<void> {
    const missing = this.#missing(node);
    if (!missing) return;
    await this.#patch(() => ({ metadata: { annotations: missing } }), signal);
  }

  async #sayReady(signal: AbortSignal): Promise<void> {
    const { now = () => new Date() } = this.#options;
    await this.#patch(() => readyCondition(now()), signal);
  }

  /** Patches the status of our Node, for as long as it takes. */
  async #patch(patch: () => object, signal: AbortSignal): Promise<void> {
    const call = async () => this.#take(await this.#api.patchStatus(this.#options.nodeName, patch(), signal));
    const patched = this.#retry.persist("patching this node", ["invalid"], call, signal);
    this.#writing = patched.then(
      () => {},
      () => {},
    );
    await patched;
  }

  /** Somebody has changed what is ours to say, or overwrites it otherwise than before. */
  async #restore(node: KubeNode, signal: AbortSignal): Promise<void> {
    try {
      const missing = this.#missing(node);
      if (missing) {
        const what = Object.keys(missing).join(", ");
        this.#options.onEvent({ kind: "restored", what: `annotations of node ${node.name} (${what})` });
        await this.#publish(node, signal);
      }
      if (this.#saidReady && node.networkUnavailable === "True") {
        this.#options.onEvent({ kind: "restored", what: `the condition NetworkUnavailable of node ${node.name}` });
        await this.#sayReady(signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** Full names → texts of annotations that are not as wanted; null for those that must go. */
  #missing({ annotations }: KubeNode): Readonly<Record<string, string | null>> | undefined {
    if (!this.#attributes) return undefined;
    const publicIp = publishedIp(annotations, this.#attributes.publicIp);
    if (typeof publicIp === "string") return undefined; // what was published stands; the next start refuses it
    const missing: Record<string, string | null> = {};
    for (const [name, text] of Object.entries(annotationsOf({ ...this.#attributes, publicIp }))) {
      if (annotations[name as AnnotationName] !== text) missing[`${this.#prefix}${name}`] = text ?? null;
    }
    return Object.keys(missing).length > 0 ? missing : undefined;
  }

  #tellWaiting(reason: string): void {
    if (this.#toldWaiting !== reason) this.#options.onEvent({ kind: "waiting", reason });
    this.#toldWaiting = reason;
  }
}

function sameSubnets(node: KubeNode, own: PerFamily<Prefix>): boolean {
  const subnets = subnetsOf(node);
  return typeof subnets !== "string" && familiesOf(own).every((family) => subnets[family] === own[family]);
}
