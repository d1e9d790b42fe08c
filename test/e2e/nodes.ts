// Nodes for tests of the real flanneld: network namespaces on one switch, each with an eth0 in IPv4 and IPv6, all on one store: an embedded one, an etcd
// cluster whose members are namespaces on the same switch, or a Kubernetes API server in such a namespace. Whatever a test makes goes away with its Underlay,
// also when it fails, and only what was started here is ever killed.
//
// FLANNELD names the flanneld to test, by default dist/flanneld. STORE=kubernetes runs all tests that do not ask for a store on that one. Needs root.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseSubnetEnv, previousLease } from "../../src/config/subnet_env.ts";
import type { Family } from "../../src/ip/family.ts";
import { type ClusterOptions, EtcdCluster } from "../etcd/cluster.ts";
import { Namespace, readObjects, run } from "../kernel/linux_world.ts";
import { KubeCluster, type KubeClusterOptions, type KubeUser } from "../kubernetes/cluster.ts";
import { Flanneld } from "./flanneld.ts";
import { KubeStore } from "./kube_store.ts";
import { Program } from "./program.ts";
import { type PeerStore, Store } from "./store.ts";

export const FLANNELD = resolve(process.env.FLANNELD ?? join(import.meta.dir, "../../dist/flanneld"));

export const NETWORK = { Network: "10.5.0.0/16", Backend: { Type: "vxlan" } };
export const DUAL_STACK = { ...NETWORK, EnableIPv6: true, IPv6Network: "fd00:5::/48" };

interface StartOptions {
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Runs flanneld under this command: ["setpriv", …]. */
  readonly under?: readonly string[];
  /** Directory below the node's for subnet.env and status.json; "run" by default. */
  readonly directory?: string;
  readonly storeFile?: string;
  readonly executable?: string;
}

/** Node n has 192.168.77.n and fd00:77::n on eth0. */
export class Node {
  readonly n: number;
  readonly namespace = new Namespace();
  readonly #underlay: Underlay;

  constructor(underlay: Underlay, n: number) {
    this.#underlay = underlay;
    this.n = n;
  }

  get address(): Readonly<Record<Family, string>> {
    return { ipv4: `192.168.77.${this.n}`, ipv6: `fd00:77::${this.n.toString(16)}` };
  }

  get directory(): string {
    return join(this.#underlay.directory, `n${this.n}`);
  }

  get subnetFile(): string {
    return join(this.directory, "run/subnet.env");
  }

  /** KEY → value of subnet.env. */
  get subnetEnv(): Readonly<Record<string, string>> {
    const lines = readFileSync(this.subnetFile, "utf8").trim().split("\n");
    return Object.fromEntries(lines.map((line) => line.split("=") as [string, string]));
  }

  /** The own subnet, "10.5.7.0/24". */
  subnet(family: Family = "ipv4"): string {
    const subnet = previousLease(parseSubnetEnv(readFileSync(this.subnetFile, "utf8"))).subnet[family];
    if (!subnet) throw new Error(`${this.subnetFile} has no ${family} subnet`);
    return subnet;
  }

  /** The address of flannel.1 or flannel-v6.1: the first of the subnet. */
  overlay(family: Family = "ipv4"): string {
    return this.subnet(family).replace(/\/\d+$/, "");
  }

  run(commands: string): string {
    return this.namespace.run(commands);
  }

  /** What flannel has made here, in iproute2's words. */
  objects(): string[] {
    return readObjects(this.namespace);
  }

  link(name = "flannel.1"): { readonly index: number; readonly mac: string; readonly mtu: number } | undefined {
    type Line = { ifindex: number; address: string; mtu: number };
    const text = run(`ip -n ${this.namespace.name} -j link show dev ${name} 2>/dev/null || true`);
    const [found] = JSON.parse(text.trim() || "[]") as Line[];
    return found && { index: found.ifindex, mac: found.address, mtu: found.mtu };
  }

  spawn(command: readonly string[], environment: Readonly<Record<string, string>> = {}): Program {
    return this.#underlay.own(new Program([...this.#enter, ...command], this.#underlay.newLog(), environment));
  }

  flanneld(options: StartOptions = {}): Flanneld {
    const { flags = [], environment = {}, under = [], storeFile, executable = FLANNELD } = options;
    const run = join(this.directory, options.directory ?? "run");
    mkdirSync(this.directory, { recursive: true });
    const store = storeFile === undefined ? this.#underlay.storeFlags : [`--store-file=${storeFile}`];
    const { kubernetes } = this.#underlay;
    if (kubernetes?.assigns && storeFile === undefined) {
      const before = existsSync(this.subnetFile) ? parseSubnetEnv(readFileSync(this.subnetFile, "utf8")) : undefined;
      kubernetes.store.assign(this.n, before && previousLease(before).subnet);
    }
    const named = kubernetes ? { NODE_NAME: `node${this.n}`, ...environment } : environment;
    const command = [...this.#enter, ...under, executable, ...store, `--subnet-file=${run}/subnet.env`, ...flags];
    return this.#underlay.own(
      new Flanneld(command, this.#underlay.newLog(), named, `${run}/status.json`, () => this.#routes()),
    );
  }

  /** Pings and returns how many answers came. */
  async ping(target: string, count = 3): Promise<number> {
    const { output } = await this.finished(["ping", "-n", "-q", "-c", `${count}`, "-i", "0.05", "-W", "2", target]);
    return Number(/(\d+) received/.exec(output)?.[1] ?? 0);
  }

  async finished(command: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
    const program = this.spawn(command);
    return { code: await program.exit(), output: program.output };
  }

  /** How many routes bear flannel's protocol. */
  #routes(): number {
    return this.run("ip route show proto 70; ip -6 route show proto 70").split("\n").length - 1;
  }

  /** nsenter becomes the command: its pid is the command's. */
  get #enter(): string[] {
    return ["nsenter", `--net=${this.namespace.path}`];
  }
}

export interface UnderlayOptions {
  readonly nodes?: number;
  readonly families?: readonly Family[];
  /** Routers at the nodes' default gateways, on the same switch. */
  readonly router?: boolean;
  /** The network configuration; undefined leaves the store without. */
  readonly config?: object | undefined;
  /** etcd as the store, and the generation of its API that the nodes are told to use. */
  readonly etcd?: Omit<ClusterOptions, "places"> & { readonly api?: "auto" | "2" | "3" };
  /** An API server as the store. */
  readonly kubernetes?: KubernetesUnderlay;
  /** What a test is about that only the embedded store has: it stays there, whatever STORE says. */
  readonly only?: "embedded";
}

export interface KubernetesUnderlay extends Omit<KubeClusterOptions, "place"> {
  readonly servers?: 1 | 3;
  readonly user?: KubeUser;
  /** Nodes register themselves, and get subnets when their flanneld starts. */
  readonly registers?: boolean;
  readonly assigns?: boolean;
}

const STORE = process.env.STORE ?? "embedded";

/** Where etcd keeps the network. */
const PREFIX = "/coreos.com/network";

/** A switch with nodes, and the store that they share. */
export class Underlay implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "flannel-e2e-"));
  readonly storeFile = join(this.directory, "store.db");
  readonly nodes: Node[] = [];
  readonly #switch = new Namespace();
  readonly #programs: Program[] = [];
  readonly #members: Namespace[] = [];
  #store: (PeerStore & Partial<Disposable>) | undefined;
  #kubernetes: { readonly store: KubeStore; readonly assigns: boolean } | undefined;
  #cluster: EtcdCluster | undefined;
  #storeFlags: readonly string[] = [`--store-file=${this.storeFile}`];

  static async open({
    nodes = 2,
    families = ["ipv4", "ipv6"],
    router = false,
    etcd,
    only,
    kubernetes: asked,
    ...rest
  }: UnderlayOptions = {}): Promise<Underlay> {
    // A configuration that comes later is a matter of other stores: this one's is a file, read once.
    const free = !etcd && only === undefined && (!("config" in rest) || rest.config !== undefined);
    const kubernetes = asked ?? (STORE === "kubernetes" && free ? {} : undefined);
    const underlay = new Underlay();
    try {
      run(`ip -n ${underlay.#switch.name} -batch -`, "link add br0 type bridge mcast_snooping 0\nlink set br0 up\n");
      for (let n = 1; n <= nodes; n++) underlay.#addNode(n, families);
      if (router) underlay.#addRouter();
      const config = "config" in rest ? rest.config : NETWORK;
      if (etcd) await underlay.#startEtcd(etcd, config);
      else if (kubernetes) await underlay.#startKubernetes(kubernetes, config);
      else {
        underlay.#store = await Store.open(underlay.storeFile);
        if (config) await underlay.store.configure(config);
      }
      return underlay;
    } catch (error) {
      await underlay[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Node n, counted from 1. */
  node(n: number): Node {
    const node = this.nodes[n - 1];
    if (!node) throw new RangeError(`There is no node ${n}`);
    return node;
  }

  #addNode(n: number, families: readonly Family[]): void {
    const node = new Node(this, n);
    this.nodes.push(node);
    const { name } = node.namespace;
    this.#plug(`p${n}`, name);
    const lines = ["link set lo up", "link set eth0 up"];
    if (families.includes("ipv4")) {
      lines.push(`address add ${node.address.ipv4}/24 dev eth0`, "route add default via 192.168.77.254 dev eth0");
    }
    if (families.includes("ipv6")) {
      lines.push(`address add ${node.address.ipv6}/64 dev eth0 nodad`, "-6 route add default via fd00:77::fe dev eth0");
    }
    // Without the check for duplicates, whose second a link-local address would not be usable for.
    node.run("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad");
    for (const line of lines) run(`ip -n ${name} ${line}`);
  }

  #addRouter(): void {
    const namespace = new Namespace();
    this.#members.push(namespace);
    this.#plug("r1", namespace.name);
    namespace.run(`
      echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
      sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
      ip link set lo up; ip link set eth0 up
      ip address add 192.168.77.254/24 dev eth0; ip address add fd00:77::fe/64 dev eth0 nodad`);
  }

  #plug(port: string, namespace: string): void {
    run(
      `ip -n ${this.#switch.name} -batch -`,
      `link add ${port} type veth peer name eth0 netns ${namespace}\nlink set ${port} master br0 up\n`,
    );
  }

  /** Member n is at 192.168.77.(200 + n), on the port m<n> of the switch. */
  async #startEtcd({ api = "auto", ...options }: NonNullable<UnderlayOptions["etcd"]>, config?: object): Promise<void> {
    const places = Array.from({ length: options.members ?? 1 }, (_, i) => {
      const namespace = new Namespace();
      this.#members.push(namespace);
      this.#plug(`m${i + 1}`, namespace.name);
      const address = `192.168.77.${201 + i}`;
      namespace.run(`ip link set lo up; ip link set eth0 up; ip address add ${address}/24 dev eth0`);
      return { namespace: namespace.path, address };
    });
    this.#cluster = await EtcdCluster.start({ ...options, places });
    const { tls } = options;
    this.#storeFlags = [
      `--etcd-endpoints=${this.cluster.endpoints.join(",")}`,
      `--etcd-api=${api}`,
      ...(tls ? [`--etcd-cafile=${tls.caFile}`] : []),
      ...(tls?.client ? [`--etcd-certfile=${tls.client.certFile}`, `--etcd-keyfile=${tls.client.keyFile}`] : []),
    ];
    if (!config) return;
    if (api === "2") this.cluster.ctl2("set", `${PREFIX}/config`, JSON.stringify(config));
    else this.cluster.ctl("put", `${PREFIX}/config`, JSON.stringify(config));
  }

  /** The servers are at 192.168.77.201 and up, on the port m1 of the switch. */
  async #startKubernetes(options: KubernetesUnderlay, config?: object): Promise<void> {
    const { servers = 1, user = "token", registers = true, assigns = registers, ...rest } = options;
    const namespace = new Namespace();
    this.#members.push(namespace);
    this.#plug("m1", namespace.name);
    namespace.run("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; ip link set lo up; ip link set eth0 up");
    // On hosts without IPv4 it is reached by IPv6.
    const v4 = Array.from({ length: servers }, (_, i) => `192.168.77.${201 + i}`);
    for (const address of v4) namespace.run(`ip address add ${address}/24 dev eth0`);
    namespace.run("ip address add fd00:77::c9/64 dev eth0 nodad");
    const onlyV6 = this.nodes.every((node) => !node.run("ip -4 address show dev eth0").includes("inet "));
    const place = { namespace: namespace.path, addresses: onlyV6 ? ["fd00:77::c9"] : v4 };
    const cluster = await KubeCluster.start({ ...rest, place });
    const store = new KubeStore(cluster, join(this.directory, "net-conf.json"), this.nodes);
    this.#store = store;
    this.#kubernetes = { store, assigns };
    if (registers) for (const { n } of this.nodes) await store.register(n);
    if (config) await store.configure(config);
    const file = cluster.kubeconfig(user);
    this.#storeFlags = ["--kube-subnet-mgr", `--kubeconfig-file=${file}`, `--net-config-path=${store.configFile}`];
  }

  get kubernetes(): { readonly store: KubeStore; readonly assigns: boolean } | undefined {
    return this.#kubernetes;
  }

  get kube(): KubeStore {
    if (!this.#kubernetes) throw new Error("The store is no Kubernetes");
    return this.#kubernetes.store;
  }

  /** A program outside of all nodes. */
  program(command: readonly string[], environment: Readonly<Record<string, string>> = {}): Program {
    return this.own(new Program(command, this.newLog(), environment));
  }

  /** The switch drops everything from and to a port: p<n> of a node, m<n> of a member. Links stay up, nothing is refused. */
  cut(port: string): void {
    this.#switch.run(`bridge link set dev ${port} state 0`);
  }

  /** Pulls the cable of a node, waits until the node's kernel has taken notice, and puts it in again. */
  replug(node: Node): void {
    const port = `p${node.n}`;
    this.#switch.run(`ip link set ${port} down`);
    node.run("while ip -o link show dev eth0 | grep -q 'state UP'; do sleep 0.02; done");
    this.#switch.run(`ip link set ${port} up`);
  }

  heal(port: string): void {
    this.#switch.run(`bridge link set dev ${port} state 3`);
  }

  /** Runs shell commands in the switch, where node n's port is p<n>. */
  onSwitch(commands: string): string {
    return this.#switch.run(commands);
  }

  get cluster(): EtcdCluster {
    if (!this.#cluster) throw new Error("The store is no etcd cluster");
    return this.#cluster;
  }

  /** How a flanneld is told of the store. */
  get storeFlags(): readonly string[] {
    return this.#storeFlags;
  }

  /** The path of a log that nobody else writes. */
  newLog(): string {
    return join(this.directory, `log-${this.#programs.length}`);
  }

  own<P extends Program>(program: P): P {
    this.#programs.push(program);
    return program;
  }

  /** The store of all nodes, unless they are started with another. */
  get store(): PeerStore {
    if (!this.#store) throw new Error("The store is not open yet");
    return this.#store;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#programs.map((program) => program[Symbol.asyncDispose]()));
    await this.#cluster?.[Symbol.asyncDispose]();
    await this.#kubernetes?.store.cluster[Symbol.asyncDispose]();
    this.#store?.[Symbol.dispose]?.();
    for (const { namespace } of this.nodes) namespace[Symbol.dispose]();
    for (const namespace of this.#members) namespace[Symbol.dispose]();
    this.#switch[Symbol.dispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
