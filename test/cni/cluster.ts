// Nodes of the lab with flanneld and a container runtime each, and a host outside of them that knows no pod's address. Node n is 192.168.77.n; the outside is
// the node after the last.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DUAL_STACK, type Node, Underlay } from "../e2e/nodes.ts";
import { until } from "../e2e/program.ts";
import { addressOf, ask, askFrom, type Container, type Runtime } from "./container.ts";
import { Machine } from "./machine.ts";

/** The bare file of upstream's guide. */
export const GUIDE = { name: "mynet", type: "flannel", delegate: { isDefaultGateway: true } };
const DELEGATE = { hairpinMode: true, isDefaultGateway: true };
const PORTMAP = { type: "portmap", capabilities: { portMappings: true } };

/** What stands in /etc/cni/net.d: the network's name, and what it is written in. */
export const CONFIGURATIONS = {
  "the guide's": { name: "mynet", plugins: [{ type: "flannel", delegate: { isDefaultGateway: true } }] },
  "upstream's 10-flannel.conflist": {
    name: "cbr0",
    cniVersion: "0.3.1",
    plugins: [{ type: "flannel", delegate: DELEGATE }, PORTMAP],
  },
  "one with cniVersions": {
    name: "cbr0",
    cniVersion: "0.3.1",
    cniVersions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    plugins: [{ type: "flannel", delegate: DELEGATE }, PORTMAP],
  },
} as const;

/** Where the outside listens. */
const OUTSIDE_PORT = 8080;

/** A plugin's configuration, or a list of them. */
interface Conf {
  readonly type?: string;
  readonly builtin?: boolean;
  readonly plugins?: readonly Conf[];
}

interface ClusterOptions {
  readonly nodes?: number;
  readonly delegates: "built-in" | "reference";
  /** File and content of /etc/cni/net.d. */
  readonly configuration: readonly [file: string, conf: Conf];
  /** IPv4 alone unless told. */
  readonly dualStack?: boolean;
  readonly runtime: (machine: Machine) => Promise<Runtime>;
}

export class Cluster implements AsyncDisposable {
  readonly machines: Machine[] = [];
  readonly runtimes: Runtime[] = [];
  readonly #underlay: Underlay;

  private constructor(underlay: Underlay) {
    this.#underlay = underlay;
  }

  static async open({
    nodes = 2,
    delegates,
    configuration,
    dualStack = false,
    runtime,
  }: ClusterOptions): Promise<Cluster> {
    const cluster = new Cluster(
      await Underlay.open({ nodes: nodes + 1, ...(dualStack ? { config: DUAL_STACK } : { families: ["ipv4"] }) }),
    );
    try {
      for (let n = 1; n <= nodes; n++) {
        const machine = await Machine.open(cluster.#underlay, cluster.#underlay.node(n));
        machine.install(delegates);
        const [file, conf] = configuration;
        machine.configure(file, delegates === "built-in" ? conf : withPrograms(conf));
        cluster.machines.push(machine);
      }
      const daemons = cluster.machines.map(({ node }) => node.flanneld({ flags: MASQUERADE }));
      await Promise.all(daemons.map((daemon) => daemon.peers(nodes - 1)));
      for (const machine of cluster.machines) cluster.runtimes.push(await runtime(machine));
      await cluster.#openOutside();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get outside(): Node {
    return this.#underlay.node(this.machines.length + 1);
  }

  machine(n: number): Machine {
    return found(this.machines[n - 1]);
  }

  runtime(n: number): Runtime {
    return found(this.runtimes[n - 1]);
  }

  /** Answers whoever asks with the name "outside" and the asker's address. */
  async #openOutside(): Promise<void> {
    const root = join(this.#underlay.directory, "outside");
    mkdirSync(join(root, "cgi-bin"), { recursive: true });
    writeFileSync(join(root, "cgi-bin/who"), "#!/bin/sh\necho; echo outside $REMOTE_ADDR\n", { mode: 0o755 });
    const command = ["busybox", "httpd", "-f", "-p", `${OUTSIDE_PORT}`, "-h", root];
    const server = this.outside.spawn(command);
    await until("the outside listens", () => this.outside.run("ss -Hltn").includes(`:${OUTSIDE_PORT} `), server);
  }

  /** In each family that the container has. */
  askOutside(container: Container): string[] {
    const { ipv4, ipv6 } = this.outside.address;
    return container.addresses.map((own) => ask(container, own.startsWith("[") ? `[${ipv6}]` : ipv4, OUTSIDE_PORT));
  }

  askFromOutside(address: string, port: number): string {
    return askFrom({ node: this.outside }, address, port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#underlay[Symbol.asyncDispose]();
  }
}

/** flanneld masquerades, and so the plugin tells its delegate not to. */
const MASQUERADE = ["--ip-masq"];

/** The same configuration, with the programs of CNI_PATH as flannel's delegates. */
function withPrograms(conf: Conf): Conf {
  if (conf.type === "flannel") return { ...conf, builtin: false };
  return { ...conf, ...(conf.plugins && { plugins: conf.plugins.map(withPrograms) }) };
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new RangeError("There is no such node");
  return value;
}

/** As kube-proxy does it with iptables: a port of the node leads to each of `targets` in turn, and what came in by it goes on as from the node. */
export function addNodePort({ node }: Machine, port: number, targets: readonly Container[]): void {
  const rules = targets.map((target, i) => {
    const left = targets.length - i;
    const turn = left > 1 ? `-m statistic --mode nth --every ${left} --packet 0` : "";
    return `iptables -t nat -A LAB-PORT -p tcp ${turn} -j DNAT --to-destination ${addressOf(target)}:80`;
  });
  node.run(`
    iptables -t nat -N LAB-PORT
    iptables -t nat -A LAB-PORT -j MARK --set-mark 0x4000/0x4000
    ${rules.join("\n")}
    iptables -t nat -A PREROUTING -p tcp -m addrtype --dst-type LOCAL --dport ${port} -j LAB-PORT
    iptables -t nat -I POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE`);
}
