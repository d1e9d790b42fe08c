// A pod on a node, as a CNI plugin would make one: a network namespace behind the bridge cni0, which has the first address of the node's subnet. And a witness
// in a host's kernel of the sources that packets arrive with.

import { FAMILIES, type Family } from "../../src/ip/family.ts";
import { Namespace, run } from "../kernel/linux_world.ts";
import type { Node, Underlay } from "./nodes.ts";
import type { Program } from "./program.ts";

export class Pod implements Disposable {
  readonly namespace = new Namespace();
  /** "" in a family that it has not. */
  readonly address: Readonly<Record<Family, string>>;
  readonly #underlay: Underlay;

  /** The subnets of the node must be known: flanneld has written subnet.env. */
  constructor(underlay: Underlay, node: Node, families: readonly Family[] = FAMILIES) {
    this.#underlay = underlay;
    const nth = (n: number): Readonly<Record<Family, string>> => ({
      ipv4: families.includes("ipv4") ? node.overlay("ipv4").replace(/\.0$/, `.${n}`) : "",
      ipv6: families.includes("ipv6") ? `${node.overlay("ipv6")}${n}` : "",
    });
    const gateway = nth(1);
    this.address = nth(2);
    const addressing = (addresses: typeof gateway, dev: string) => `
      ${addresses.ipv4 && `ip address add ${addresses.ipv4}/24 dev ${dev}`}
      ${addresses.ipv6 && `ip address add ${addresses.ipv6}/64 dev ${dev} nodad`}`;
    const { FLANNEL_MTU: mtu } = node.subnetEnv;
    node.run(`
      sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
      ip link add cni0 mtu ${mtu} type bridge mcast_snooping 0
      ip link set cni0 up
      ${addressing(gateway, "cni0")}
      ip link add pod mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${this.namespace.name}
      ip link set pod master cni0 up`);
    this.namespace.run(`
      echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad
      ip link set lo up
      ip link set eth0 up
      ${addressing(this.address, "eth0")}
      ${gateway.ipv4 && `ip route add default via ${gateway.ipv4}`}
      ${gateway.ipv6 && `ip -6 route add default via ${gateway.ipv6}`}`);
  }

  spawn(command: readonly string[]): Program {
    return this.#underlay.program(["nsenter", `--net=${this.namespace.path}`, ...command]);
  }

  /** Pings and returns how many answers came; `options` are ping's. */
  async ping(target: string, count = 3, options: readonly string[] = []): Promise<number> {
    const program = this.spawn(["ping", "-n", "-q", "-c", `${count}`, "-i", "0.05", "-W", "1", ...options, target]);
    await program.exit();
    return Number(/(\d+) received/.exec(program.output)?.[1] ?? 0);
  }

  [Symbol.dispose](): void {
    this.namespace[Symbol.dispose]();
  }
}

/** Port of a service that nobody offers. */
const DISCARD = 9;

/** A thousand packets a second, each a flow of its own, so that each is looked up in the rules anew: UDP from ever new ports. */
export class FlowStream {
  readonly #program: Program;

  constructor(from: Pod, target: string) {
    const script = `sent=0; trap 'stop=1' TERM
      until [ "$stop" ]; do
        for i in {1..25}; do echo > /dev/udp/${target}/${DISCARD} && sent=$((sent + 1)); done
        sleep 0.02
      done
      echo $sent`;
    this.#program = from.spawn(["bash", "-c", script]);
  }

  /** Returns how many were sent. */
  async stop(): Promise<number> {
    await this.#program.stop("SIGTERM");
    return Number(this.#program.output.trim().split("\n").at(-1));
  }
}

/** Remembers the sources of what arrives: echo requests, and FlowStream's packets, which it counts. */
export class Witness {
  readonly #namespace: Pick<Namespace, "name">;

  constructor(namespace: Pick<Namespace, "name">) {
    this.#namespace = namespace;
    for (const [family, ip, icmp] of [
      ["ipv4", "ip", "icmp"],
      ["ipv6", "ip6", "icmpv6"],
    ]) {
      this.#nft(`
        add table ${ip} witness
        add set ${ip} witness seen { type ${family}_addr; size 1000; flags dynamic; }
        add chain ${ip} witness arrivals { type filter hook prerouting priority -300; }
        add rule ${ip} witness arrivals ${icmp} type echo-request add @seen { ${ip} saddr }
        add rule ${ip} witness arrivals udp dport ${DISCARD} counter add @seen { ${ip} saddr }`);
    }
  }

  /** Sources since the last call, sorted. */
  sources(family: Family): string[] {
    const set = `set ${family === "ipv4" ? "ip" : "ip6"} witness seen`;
    const { nftables } = JSON.parse(this.#nft(`list ${set}`, "-j"));
    this.#nft(`flush ${set}`);
    return [...(nftables[1].set.elem ?? [])].map((each) => each.elem?.val ?? each).sort();
  }

  /** FlowStream's packets that arrived over IPv4. */
  get flows(): number {
    return Number(/counter packets (\d+)/.exec(this.#nft("list chain ip witness arrivals"))?.[1]);
  }

  #nft(commands: string, option = "-n"): string {
    return run(`ip netns exec ${this.#namespace.name} nft ${option} -f -`, commands);
  }
}
