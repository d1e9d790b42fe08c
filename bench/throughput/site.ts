// Two nodes with a pod each, and one of the paths between them: namespaces of their own on a switch of their own, so that all paths of a run stand at the same
// time and are measured in turn. Everything goes away with it, and dies with this process.

import { GO_FLANNELS, startGo } from "../../test/e2e/go_flannel.ts";
import { type Node, Underlay } from "../../test/e2e/nodes.ts";
import type { Program } from "../../test/e2e/program.ts";
import { Namespace, run } from "../../test/kernel/linux_world.ts";
import { cpuSeconds } from "../process.ts";
import { ETHERNET_MTU, type HandNode, hostGwByHand, rulesByHand, VXLAN_MTU, vxlanByHand } from "./by_hand.ts";
import { type Counters, nodeCommands, portCommands, sentCounters } from "./form.ts";
import { type Form, PATHS, type PathName } from "./paths.ts";

const NETWORK = "10.5.0.0/16";
/** How long a peer's lease may take to become a path. */
const REACH_LIMIT_MS = 20_000;

/** Where a load's program runs, and how the other reaches it. */
export interface End {
  readonly namespace: Namespace;
  readonly address: string;
}

interface Subnet {
  /** "10.5.1.0/24" */
  readonly prefix: string;
  readonly mtu: number;
}

export class Site implements AsyncDisposable {
  readonly name: PathName;
  readonly #underlay: Underlay;
  readonly #pods: Namespace[] = [];
  readonly #daemons: Program[] = [];
  #ends: readonly End[];

  private constructor(name: PathName, underlay: Underlay) {
    this.name = name;
    this.#underlay = underlay;
    this.#ends = underlay.nodes.map(({ namespace, address }) => ({ namespace, address: address.ipv4 }));
  }

  /** `flanneld`: the program of this repository. Throws when the path does not come about. */
  static async open(name: PathName, flanneld: string): Promise<Site> {
    const path = PATHS[name];
    const config = path.kind === "underlay" ? undefined : { Network: NETWORK, Backend: { Type: path.backend } };
    const etcd = path.kind === "upstream" ? { etcd: {} } : {};
    const site = new Site(name, await Underlay.open({ nodes: 2, families: ["ipv4"], config, ...etcd }));
    try {
      await site.#setUp(flanneld);
      return site;
    } catch (error) {
      await site[Symbol.asyncDispose]();
      throw new Error(`cannot set up the path ${name}: ${error instanceof Error ? error.message : error}`);
    }
  }

  get from(): End {
    return this.#end(0);
  }

  get to(): End {
    return this.#end(1);
  }

  get hasDaemon(): boolean {
    return this.#daemons.length > 0;
  }

  /** User and system time of the daemons on both nodes, with all their threads. */
  daemonSeconds(): number {
    for (const daemon of this.#daemons) {
      if (!daemon.isAlive) throw new Error(`a daemon of ${this.name} ended:\n${daemon.output}`);
    }
    return this.#daemons.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
  }

  /** What the sender's node has put on the wire so far. */
  sent(): Counters {
    return sentCounters(run(`ip -n ${this.#underlay.node(1).namespace.name} -s -j link show dev eth0`));
  }

  form(form: Form): void {
    for (const node of this.#underlay.nodes) {
      node.run(nodeCommands(form));
      this.#underlay.onSwitch(portCommands(form, `p${node.n}`));
    }
  }

  spawn({ namespace }: End, command: readonly string[]): Program {
    return this.#underlay.program(["nsenter", `--net=${namespace.path}`, ...command]);
  }

  async #setUp(flanneld: string): Promise<void> {
    const path = PATHS[this.name];
    const { nodes } = this.#underlay;
    switch (path.kind) {
      case "underlay":
        return;
      case "flanneld": {
        const flags = ["--iface=eth0", "--ip-masq"];
        const daemons = nodes.map((node) => node.flanneld({ executable: flanneld, flags }));
        this.#daemons.push(...daemons);
        await Promise.all(daemons.map((daemon) => daemon.ready()));
        break;
      }
      case "upstream": {
        const upstream = GO_FLANNELS.find(({ api }) => api === "3");
        if (!upstream) throw new Error("FLANNEL_GO does not name upstream's flanneld");
        for (const node of nodes) this.#daemons.push(await startGo(upstream, this.#underlay, node, ["-ip-masq"]));
        break;
      }
      case "by hand":
        this.#makeByHand(path.backend);
        for (const node of nodes) this.#addPod(node, { prefix: subnetOf(node.n), mtu: mtuOf(path.backend) });
        break;
    }
    if (path.kind !== "by hand") {
      for (const node of nodes) {
        const mtu = Number(node.subnetEnv.FLANNEL_MTU);
        this.#addPod(node, { prefix: node.subnet(), mtu });
      }
    }
    await this.#reach();
  }

  #makeByHand(backend: "vxlan" | "host-gw"): void {
    const hands = this.#underlay.nodes.map(
      ({ n, address }): HandNode => ({ n, address: address.ipv4, subnet: subnetOf(n) }),
    );
    const commands = backend === "vxlan" ? vxlanByHand : hostGwByHand;
    for (const [i, node] of this.#underlay.nodes.entries()) {
      const [own, peer] = [hands[i], hands[1 - i]];
      if (!own || !peer) continue;
      node.run(commands(own, peer));
      run(`ip netns exec ${node.namespace.name} iptables-restore --noflush`, rulesByHand(NETWORK, own));
    }
  }

  /** A pod behind cni0, as the CNI plugin makes one: both with the subnet's MTU. */
  #addPod(node: Node, { prefix, mtu }: Subnet): void {
    const pod = new Namespace();
    this.#pods.push(pod);
    const nth = (n: number) => prefix.replace(/\.0\/\d+$/, `.${n}`);
    node.run(`
      sysctl -qw net.ipv4.ip_forward=1
      ip link add cni0 mtu ${mtu} type bridge
      ip link set cni0 up
      ip address add ${nth(1)}/24 dev cni0
      ip link add pod mtu ${mtu} type veth peer name eth0 netns ${pod.name} mtu ${mtu}
      ip link set pod master cni0 up`);
    pod.run(`
      ip link set lo up
      ip link set eth0 up
      ip address add ${nth(2)}/24 dev eth0
      ip route add default via ${nth(1)}`);
    this.#ends = [...this.#ends.slice(0, node.n - 1), { namespace: pod, address: nth(2) }, ...this.#ends.slice(node.n)];
  }

  /** Waits until the pods reach each other. */
  async #reach(): Promise<void> {
    const end = performance.now() + REACH_LIMIT_MS;
    for (;;) {
      const ping = this.spawn(this.from, ["ping", "-n", "-q", "-c", "1", "-W", "1", this.to.address]);
      if ((await ping.exit()) === 0) return;
      this.daemonSeconds();
      if (performance.now() > end) {
        const said = this.#daemons.map(({ output }) => output.split("\n").slice(-10).join("\n"));
        throw new Error(`no answer from pod to pod within ${REACH_LIMIT_MS} ms\n${said.join("\n")}`);
      }
    }
  }

  #end(i: 0 | 1): End {
    const end = this.#ends[i];
    if (!end) throw new RangeError(`the path has no end ${i}`);
    return end;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#underlay[Symbol.asyncDispose]();
    for (const pod of this.#pods) pod[Symbol.dispose]();
  }
}

/** Of nodes whose subnets nobody leases. */
function subnetOf(n: number): string {
  return `10.5.${n}.0/24`;
}

function mtuOf(backend: "vxlan" | "host-gw"): number {
  return backend === "vxlan" ? VXLAN_MTU : ETHERNET_MTU;
}
