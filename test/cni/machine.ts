// A node of the lab as a machine of its own, so that container runtimes run on it with their usual paths: besides the node's network namespace, PIDs that all
// end with it, an empty /run, and /etc, /opt and /var on which nothing is written but for it. cgroups are the host's: `ip netns exec` would hide them.

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FLANNELD, type Node, type Underlay } from "../e2e/nodes.ts";
import { type Program, until } from "../e2e/program.ts";
import { REFERENCE } from "./runtime.ts";

/** Plugins that the built-in ones stand for. */
const BUILT_IN = ["bridge", "host-local", "portmap", "loopback"];

/** $1: a directory of the machine. /etc, /opt and /var stay readable below what is written. */
const SET_UP = `
  mkdir -p "$1/disk" && mount -t tmpfs none "$1/disk"
  for name in etc opt var; do
    mkdir -p "$1/disk/$name" "$1/disk/$name.work"
    mount -t overlay none -o "lowerdir=/$name,upperdir=$1/disk/$name,workdir=$1/disk/$name.work" "/$name"
  done
  # Copies of the tests' own mounts would stay below.
  for place in /run/netns/* /run/netns; do umount -l "$place" 2>/dev/null || true; done
  mount -t tmpfs none /run
  mkdir -p /run/netns /run/lock /run/flannel "$1/run"
  mount --bind "$1/run" /run/flannel
  rm -rf /etc/cni /opt/cni /var/lib/containers /var/lib/containerd /var/lib/cni
  mkdir -p /etc/cni/net.d /opt/cni/bin
  exec sleep infinity`;

export class Machine {
  readonly node: Node;
  /** The same path inside and outside. */
  readonly directory: string;
  readonly #underlay: Underlay;
  readonly #program: Program;
  #first: number | undefined;

  private constructor(underlay: Underlay, node: Node) {
    this.#underlay = underlay;
    this.node = node;
    this.directory = node.directory;
    mkdirSync(this.directory, { recursive: true });
    const alone = ["--pid", "--fork", "--kill-child", "--mount", "--propagation=private", "--mount-proc"];
    const command = ["nsenter", `--net=${node.namespace.path}`, "unshare", ...alone];
    this.#program = underlay.program([...command, "sh", "-ec", SET_UP, "sh", this.directory]);
  }

  /** It ends with the underlay. */
  static async open(underlay: Underlay, node: Node): Promise<Machine> {
    const machine = new Machine(underlay, node);
    machine.#first = await until("the machine is set up", () => machine.#findFirst(), machine.#program);
    return machine;
  }

  /** A process, by its PID out here, that holds the machine's namespaces. */
  get pid(): number {
    if (this.#first === undefined) throw new Error("the machine is not set up yet");
    return this.#first;
  }

  /** The PID, out here, of the machine's first process, when it has done its work. */
  #findFirst(): number | undefined {
    const { pid } = this.#program;
    const [child] = readLoose(`/proc/${pid}/task/${pid}/children`).split(" ");
    return child && readLoose(`/proc/${child}/comm`).trim() === "sleep" ? Number(child) : undefined;
  }

  #enter(command: readonly string[]): string[] {
    return ["nsenter", `--target=${this.#first}`, "--pid", "--mount", "--net", "--", ...command];
  }

  /** Puts plugins into /opt/cni/bin: ours alone, or ours with the reference's as delegates. */
  install(delegates: "built-in" | "reference"): void {
    const own = delegates === "built-in" ? ["flannel", ...BUILT_IN] : ["flannel"];
    const others = delegates === "built-in" ? [] : BUILT_IN;
    for (const name of own) this.run(["ln", "-s", FLANNELD, `/opt/cni/bin/${name}`]);
    for (const name of others) this.run(["ln", "-s", `${REFERENCE}/${name}`, `/opt/cni/bin/${name}`]);
  }

  /** Writes the one configuration of /etc/cni/net.d. */
  configure(file: string, conf: object): void {
    this.run(["sh", "-c", `rm -f /etc/cni/net.d/*; cat > "/etc/cni/net.d/$0"`, file], JSON.stringify(conf));
  }

  run(command: readonly string[], input = ""): string {
    const { exitCode, stdout, stderr } = this.tried(command, input);
    if (exitCode !== 0) throw new Error(`${command.join(" ")}: exit ${exitCode}: ${stderr.trim()}`);
    return stdout;
  }

  tried(command: readonly string[], input = "") {
    const { exitCode, stdout, stderr } = Bun.spawnSync(this.#enter(command), {
      stdin: Buffer.from(input),
      env: this.#environment,
    });
    return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
  }

  start(command: readonly string[]): Program {
    return this.#underlay.program(this.#enter(command), this.#environment);
  }

  get #environment(): Record<string, string> {
    return { ...(process.env as Record<string, string>), CONTAINERS_CONF: join(this.directory, "containers.conf") };
  }

  write(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text);
    return path;
  }

  /** What the plugins have left on this machine: addresses, flannel's state, ends of veth pairs. */
  async emptied(network: string): Promise<void> {
    const left = () => [
      ...this.names(`/var/lib/cni/networks/${network}`).filter((name) => /^\d/.test(name)),
      ...this.names("/var/lib/cni/flannel"),
      ...this.node.run("ip -br link show type veth master cni0").split("\n"),
    ];
    // The kernel takes the links of a namespace away a while after its last process.
    await until(`no rest of ${network}`, () => left().join("") === "").catch((error) => {
      throw new Error(`${error.message}${left().join("\n")}`);
    });
  }

  /** Names in a directory of this machine. */
  names(directory: string): string[] {
    return this.tried(["ls", directory])
      .stdout.split("\n")
      .filter((name) => name !== "");
  }
}

function readLoose(path: string): string {
  return Bun.spawnSync(["cat", path]).stdout.toString();
}

/** A root file system with busybox, as an archive that `podman import` takes. */
export function makeImage(directory: string): string {
  const root = join(directory, "rootfs");
  mkdirSync(join(root, "bin"), { recursive: true });
  Bun.spawnSync(["cp", Bun.which("busybox") ?? "busybox", join(root, "bin/busybox")]);
  for (const name of ["sh", "cat", "chmod", "echo", "httpd", "ip", "mkdir", "ping", "sleep", "timeout", "wget"])
    symlinkSync("busybox", join(root, "bin", name));
  const archive = join(directory, "image.tar");
  Bun.spawnSync(["tar", "-C", root, "-cf", archive, "."]);
  return archive;
}
