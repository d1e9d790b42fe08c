// A host for `flannelctl ipam`: a PID namespace of its own, so that processes of the machine that runs the tests neither hold the tests' addresses nor hide
// their namespaces, with a data directory that Debian's host-local writes.

import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Program, until } from "../e2e/program.ts";
import { Namespace } from "../kernel/linux_world.ts";
import { FLANNELCTL, type Outcome } from "./flannelctl.ts";

export const HOST_LOCAL = "/usr/lib/cni/host-local";

export interface NetworkOptions {
  readonly name?: string;
  readonly subnets?: readonly string[];
}

export class IpamHost implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "flannel-ipam-"));
  readonly dataDir = join(this.directory, "networks");
  readonly stateDir = join(this.directory, "flannel");
  readonly subnetFile = join(this.directory, "subnet.env");
  readonly #first: Program;
  readonly #namespaces: Namespace[] = [];

  private constructor() {
    const alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation=slave", "--mount-proc"];
    this.#first = new Program([...alone, "sleep", "infinity"], join(this.directory, "log"));
  }

  static async open(): Promise<IpamHost> {
    const host = new IpamHost();
    await until("a process in the PID namespace", () => host.#inside !== undefined, host.#first);
    return host;
  }

  /** The PID, out here, of its first process, once it has its own /proc. */
  get #inside(): number | undefined {
    const { pid } = this.#first;
    const [child] = Bun.spawnSync(["cat", `/proc/${pid}/task/${pid}/children`])
      .stdout.toString()
      .split(" ");
    if (!child) return undefined;
    const name = Bun.spawnSync(["cat", `/proc/${child}/comm`])
      .stdout.toString()
      .trim();
    return name === "sleep" ? Number(child) : undefined;
  }

  enter(command: readonly string[]): string[] {
    return ["nsenter", `--target=${this.#inside}`, "--pid", "--mount", "--", ...command];
  }

  namespace(): Namespace {
    const namespace = new Namespace();
    this.#namespaces.push(namespace);
    return namespace;
  }

  /** A program inside that lives as long as this host. */
  start(command: readonly string[]): Program {
    return new Program(this.enter(command), join(this.directory, "log"));
  }

  /** The configuration that host-local is given, as flannel keeps it. */
  conf({ name = "cbr0", subnets = ["10.77.1.0/28"] }: NetworkOptions = {}): string {
    const ranges = subnets.map((subnet) => [{ subnet }]);
    return JSON.stringify({
      cniVersion: "1.0.0",
      name,
      type: "bridge",
      ipam: { type: "host-local", dataDir: this.dataDir, ranges },
    });
  }

  /** ADD by Debian's host-local; the addresses without their lengths. */
  async add(containerId: string, options: NetworkOptions & { readonly ifname?: string } = {}): Promise<string[]> {
    const { ifname = "eth0" } = options;
    const answer = await this.hostLocal("ADD", containerId, ifname, options);
    return (JSON.parse(answer) as { ips: { address: string }[] }).ips.map(({ address }) => address.replace(/\/.*/, ""));
  }

  async hostLocal(verb: string, containerId: string, ifname: string, options: NetworkOptions = {}): Promise<string> {
    const child = Bun.spawn([HOST_LOCAL], {
      stdin: new TextEncoder().encode(this.conf(options)),
      stdout: "pipe",
      env: {
        CNI_COMMAND: verb,
        CNI_CONTAINERID: containerId,
        CNI_IFNAME: ifname,
        CNI_NETNS: "/nowhere",
        CNI_PATH: "/usr/lib/cni",
      },
    });
    const out = await child.stdout.text();
    if ((await child.exited) !== 0) throw new Error(out);
    return out;
  }

  /** Flannel's state of a container, as both flannels write it. */
  keepState(name: string, options: NetworkOptions = {}): void {
    Bun.spawnSync(["mkdir", "-p", this.stateDir]);
    writeFileSync(join(this.stateDir, name), this.conf(options));
  }

  /** Makes all of a network's addresses an hour old. */
  age(network = "cbr0"): void {
    const then = new Date(Date.now() - 3_600_000);
    for (const file of this.files(network)) utimesSync(join(this.dataDir, network, file), then, then);
  }

  files(network = "cbr0"): string[] {
    return readdirSync(join(this.dataDir, network)).toSorted();
  }

  async ipam(words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    const places = [`--data-dir=${this.dataDir}`, `--state-dir=${this.stateDir}`, `--subnet-file=${this.subnetFile}`];
    const call = [...FLANNELCTL, "ipam", ...words, ...places];
    const child = Bun.spawn(this.enter(call), {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, NO_COLOR: "1", ...env },
    });
    const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { code: await child.exited, out, err };
  }

  /** Address → state and reason, as `ls --json` has them. */
  async states(words: readonly string[] = []): Promise<Record<string, readonly string[]>> {
    const { out, err, code } = await this.ipam(["ls", "--json", "--own-pid-namespace", ...words]);
    if (code !== 0) throw new Error(err);
    type Listed = { address: string; state: string; reason: string };
    const { addresses } = JSON.parse(out) as { addresses: Listed[] };
    return Object.fromEntries(addresses.map(({ address, state, reason }) => [address, [state, reason]]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#first[Symbol.asyncDispose]();
    for (const namespace of this.#namespaces) namespace[Symbol.dispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
