// A node of a benchmark whose store is a Kubernetes API server's double in its own namespace, over TLS and HTTP/2 as a real one.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { KubeCluster } from "../test/kubernetes/cluster.ts";
import { BenchNode } from "./node.ts";

const CONFIG = JSON.stringify({ Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } });
/** No made node has it. */
const OWN = "10.1.1.0/24";

export class KubeNode implements AsyncDisposable {
  readonly node = new BenchNode();
  #cluster: KubeCluster | undefined;

  static async open(): Promise<KubeNode> {
    const made = new KubeNode();
    try {
      const place = { namespace: made.node.namespace.path, addresses: ["192.168.77.1"] };
      made.#cluster = await KubeCluster.start({ place, historyLength: 20_000 });
      await made.cluster.create({ metadata: { name: "node1" }, spec: { podCIDR: OWN, podCIDRs: [OWN] }, status: {} });
      const configFile = join(made.node.directory, "net-conf.json");
      writeFileSync(configFile, CONFIG);
      const file = made.cluster.kubeconfig();
      made.node.storeFlags = ["--kube-subnet-mgr", `--kubeconfig-file=${file}`, `--net-config-path=${configFile}`];
      made.node.environment = { NODE_NAME: "node1" };
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  get cluster(): KubeCluster {
    if (!this.#cluster) throw new Error("There is no API server yet");
    return this.#cluster;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster?.[Symbol.asyncDispose]();
    this.node[Symbol.dispose]();
  }
}
