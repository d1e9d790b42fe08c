// A node of a benchmark whose store is an etcd in its own namespace, and the writer that fills it.

import { EtcdCluster } from "../test/etcd/cluster.ts";
import type { Done, Order } from "./etcd_writer.ts";
import { BenchNode } from "./node.ts";

const SUBNETS = "/coreos.com/network/subnets/";

export class EtcdNode implements AsyncDisposable {
  readonly node: BenchNode;
  readonly #cluster: EtcdCluster;
  readonly #api: "2" | "3";
  readonly #writer: Bun.Subprocess;
  readonly #answers: ((done: Done | "ready") => void)[] = [];

  private constructor(node: BenchNode, cluster: EtcdCluster, api: "2" | "3") {
    this.node = node;
    this.#cluster = cluster;
    this.#api = api;
    const [url = ""] = cluster.endpoints;
    node.storeFlags = [`--etcd-endpoints=${url}`];
    const command = [
      "nsenter",
      `--net=${node.namespace.path}`,
      process.execPath,
      `${import.meta.dir}/etcd_writer.ts`,
      url,
      api,
    ];
    this.#writer = Bun.spawn(command, {
      stdio: ["ignore", "inherit", "inherit"],
      serialization: "json",
      ipc: (message: Done | "ready") => this.#answers.shift()?.(message),
    });
  }

  static async open(api: "2" | "3" = "3"): Promise<EtcdNode> {
    const node = new BenchNode();
    const cluster = await EtcdCluster.start({
      enableV2: api === "2",
      places: [{ namespace: node.namespace.path, address: "192.168.77.1" }],
    });
    const made = new EtcdNode(node, cluster, api);
    await made.#answer();
    await made.order({ verb: "configure" });
    return made;
  }

  /** How often etcd was asked so far, by method. */
  requests(): ReadonlyMap<string, number> {
    const text = this.#cluster.curl(`url = "${this.#cluster.endpoints[0]}/metrics"\n`);
    const pattern = /^grpc_server_started_total\{grpc_method="(\w+)",.*\} (\d+)$/gm;
    return new Map([...text.matchAll(pattern)].map(([, method = "", count]) => [method, Number(count)]));
  }

  /** Takes leases that no peer of the benchmark has: those of flannelds that ran. */
  forgetOwnLeases(): void {
    if (this.#api === "3") {
      this.#cluster.ctl("del", `${SUBNETS}10.1.`, `${SUBNETS}10.16.`);
      return;
    }
    for (const key of this.#cluster.ctl2("ls", SUBNETS).split("\n")) {
      const second = Number(key.slice(SUBNETS.length).split(".")[1]);
      if (second < 16) this.#cluster.ctl2("rm", key);
    }
  }

  async order(order: Order): Promise<Done> {
    const answer = this.#answer();
    this.#writer.send(order);
    return (await answer) as Done;
  }

  async #answer(): Promise<Done | "ready"> {
    const { promise, resolve } = Promise.withResolvers<Done | "ready">();
    this.#answers.push(resolve);
    const ended = this.#writer.exited.then((code) => {
      throw new Error(`the writer ended: ${code}`);
    });
    ended.catch(() => {}); // its end is expected later
    return await Promise.race([promise, ended]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#writer.kill();
    await this.#writer.exited;
    await this.#cluster[Symbol.asyncDispose]();
    this.node[Symbol.dispose]();
  }
}
