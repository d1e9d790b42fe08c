// A Kubernetes cluster for tests, as far as flannel sees it: an API server's double, or three on one store, as a program on loopback or in a network namespace; its
// certificates; kubeconfigs of every kind; and what kube-controller-manager, kubelets and operators do to Nodes.

import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CertificateDirectory } from "../etcd/certificates.ts";
import type { Asked } from "./api_server.ts";
import type { Fate } from "./fate.ts";
import type { MetadataOnly } from "./forms.ts";
import type { ServeOptions } from "./serve.ts";

const START_LIMIT_MS = 90_000;
/** KUBE_APISERVER names a real kube-apiserver, for the same tests. */
const SERVER = process.env.KUBE_APISERVER ? "serve_real.ts" : "serve.ts";
const POLL_MS = 20;
const PORT = 6443;

export interface KubeClusterOptions {
  /** Where the servers run: the path of a network namespace, and an address for each of them; one server on loopback without. */
  readonly place?: { readonly namespace: string; readonly addresses: readonly string[] };
  readonly pods?: Readonly<Record<string, string>>;
  readonly bookmarkMs?: number;
  readonly historyLength?: number;
  /** How long a list waits for a version that is still to come. */
  readonly futureMs?: number;
  /** What becomes of a wish for metadata alone; it is granted without. */
  readonly metadataOnly?: MetadataOnly;
}

export interface NodeJson {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly podCIDR?: string; readonly podCIDRs?: readonly string[] };
  readonly status: { readonly conditions?: readonly Condition[] };
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

export type KubeUser = "token" | "certificate" | "exec";

export class KubeCluster implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "flannel-kube-"));
  readonly certificates = new CertificateDirectory();
  readonly addresses: readonly string[];
  readonly #options: KubeClusterOptions;
  readonly #control = join(this.directory, "control");
  #child: Bun.Subprocess | undefined;

  private constructor(options: KubeClusterOptions) {
    this.#options = options;
    this.addresses = options.place?.addresses ?? ["127.0.0.1"];
  }

  static async start(options: KubeClusterOptions = {}): Promise<KubeCluster> {
    const cluster = new KubeCluster(options);
    try {
      const { certificates, addresses } = cluster;
      await certificates.authority("ca");
      await certificates.authority("clients");
      await certificates.issue("ca", "server", { hosts: [...addresses, "kubernetes", "localhost"] });
      await certificates.issue("clients", "flannel");
      await cluster.#start();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    if (!this.#child) throw new Error("The API server does not run");
    return this.#child.pid;
  }

  get url(): string {
    const [address = ""] = this.addresses;
    return `https://${address.includes(":") ? `[${address}]` : address}:${PORT}`;
  }

  async #start(): Promise<void> {
    const { place, ...rest } = this.#options;
    const { certificates } = this;
    const options: ServeOptions = {
      ...rest,
      hosts: this.addresses,
      port: PORT,
      certFile: certificates.file("server"),
      keyFile: certificates.file("server-key"),
      clientCaFile: certificates.file("clients"),
      control: this.#control,
    };
    const inside = place ? ["nsenter", `--net=${place.namespace}`] : [];
    const mortal = ["setpriv", "--pdeathsig", "KILL"];
    const logFile = join(this.directory, "log");
    const log = openSync(logFile, "a");
    const command = [...mortal, ...inside, process.execPath, join(import.meta.dir, SERVER), JSON.stringify(options)];
    this.#child = Bun.spawn(command, { stdin: "ignore", stdout: log, stderr: log });
    closeSync(log);
    const end = performance.now() + START_LIMIT_MS;
    while (!readFileSync(logFile, "utf8").includes("listening")) {
      if (this.#child.exitCode !== null || performance.now() > end) {
        throw new Error(`The API server does not listen: ${readFileSync(logFile, "utf8").slice(-2_000)}`);
      }
      await Bun.sleep(POLL_MS);
    }
  }

  /** A kubeconfig for the user flannel; `server` in place of the first one's URL, `cluster` are further fields. */
  kubeconfig(
    user: KubeUser = "token",
    { server = this.url, cluster = {} as object, name = user as string } = {},
  ): string {
    const { certificates } = this;
    const users: Record<KubeUser, object> = {
      token: { token: "flannel-token" },
      certificate: {
        "client-certificate": certificates.file("flannel"),
        "client-key": certificates.file("flannel-key"),
      },
      exec: {
        exec: { apiVersion: "client.authentication.k8s.io/v1", command: "./credentials", interactiveMode: "Never" },
      },
    };
    if (user === "exec") this.#writeCredentialProgram();
    const ca = readFileSync(certificates.file("ca")).toString("base64");
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "default",
      contexts: [{ name: "default", context: { cluster: "here", user: "me" } }],
      clusters: [{ name: "here", cluster: { server, "certificate-authority-data": ca, ...cluster } }],
      users: [{ name: "me", user: users[user] }],
    };
    const path = join(this.directory, `${name}.kubeconfig`);
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  /** The file whose text the exec plugin gives as the token, and one that grows by a line for each time it ran. */
  get credentialFile(): string {
    return join(this.directory, "token");
  }

  get credentialRuns(): number {
    return readFileSync(join(this.directory, "runs"), "utf8").split("\n").length - 1;
  }

  #writeCredentialProgram(): void {
    const path = join(this.directory, "credentials");
    writeFileSync(this.credentialFile, "flannel-token");
    writeFileSync(join(this.directory, "runs"), "");
    const answer = `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s"}}`;
    writeFileSync(
      path,
      `#!/bin/sh\ncd ${this.directory}\necho "$KUBERNETES_EXEC_INFO" >> runs\nprintf '${answer}' "$(cat token)"\n`,
    );
    chmodSync(path, 0o755);
  }

  /** Something happens to the cluster. */
  async fate<W extends keyof Fate>(word: W, how: Fate[W]): Promise<unknown> {
    const body = JSON.stringify(how);
    const answer = await fetch(`http://double/double/${word}`, { method: "POST", body, unix: this.#control });
    if (!answer.ok) throw new Error(`${word}: ${await answer.text()}`);
    return await answer.json();
  }

  async asked(): Promise<readonly Asked[]> {
    return (await this.fate("asked", {})) as Asked[];
  }

  async nodes(): Promise<readonly NodeJson[]> {
    return ((await this.#ask("GET", "")) as { items: NodeJson[] }).items;
  }

  /** A list of so many nodes, with its version. */
  async list(limit: number): Promise<{ readonly metadata: { readonly resourceVersion: string } }> {
    return (await this.#ask("GET", `?limit=${limit}`)) as { metadata: { resourceVersion: string } };
  }

  async node(name: string): Promise<NodeJson> {
    return (await this.#ask("GET", `/${name}`)) as NodeJson;
  }

  async create(node: object): Promise<NodeJson> {
    return (await this.#ask("POST", "", node)) as NodeJson;
  }

  async remove(name: string): Promise<void> {
    await this.#ask("DELETE", `/${name}`);
  }

  /** As kubectl annotate: null takes one away. */
  async annotate(name: string, annotations: Readonly<Record<string, string | null>>): Promise<void> {
    await this.#ask("PATCH", `/${name}`, { metadata: { annotations } });
  }

  async setCondition(name: string, condition: Partial<Condition>): Promise<void> {
    await this.#ask("PATCH", `/${name}/status`, { status: { conditions: [condition] } });
  }

  async condition(name: string, type = "NetworkUnavailable"): Promise<Condition | undefined> {
    return (await this.node(name)).status.conditions?.find((each) => each.type === type);
  }

  /** As kube-controller-manager gives a node its subnets, and before this returns. */
  assign(name: string, podCIDRs: readonly string[]): void {
    const body = JSON.stringify({ spec: { podCIDR: podCIDRs[0], podCIDRs } });
    const type = "content-type: application/strategic-merge-patch+json";
    const url = `http://double/api/v1/nodes/${name}`;
    const curl = ["curl", "-sS", "--fail-with-body", "--unix-socket", this.#control, "-X", "PATCH", "-H", type];
    const { exitCode, stdout, stderr } = Bun.spawnSync([...curl, "-d", body, url]);
    if (exitCode !== 0) throw new Error(`assigning ${podCIDRs} to ${name}: ${stderr} ${stdout}`);
  }

  async #ask(method: string, path: string, body?: object): Promise<unknown> {
    const answer = await fetch(`http://double/api/v1/nodes${path}`, {
      method,
      unix: this.#control,
      ...(body && { body: JSON.stringify(body) }),
      headers: { "content-type": method === "PATCH" ? "application/strategic-merge-patch+json" : "application/json" },
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} nodes${path}: ${text}`);
    return JSON.parse(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#child?.exited;
    this.certificates[Symbol.dispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
