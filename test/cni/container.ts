// Containers that answer by HTTP who they are and who asks, run by podman and by containerd: what a test of the network needs of either.

import type { Program } from "../e2e/program.ts";
import { until } from "../e2e/program.ts";
import { type Machine, makeImage } from "./machine.ts";

export interface Container {
  readonly name: string;
  readonly machine: Machine;
  /** Of eth0: IPv4, and IPv6 in brackets where the network has both. */
  readonly addresses: readonly string[];
  exec(command: readonly string[]): string;
  /** Stops and removes it, so that the runtime calls DEL. */
  remove(): Promise<void>;
}

export interface RunOptions {
  readonly network?: string;
  /** "8080:80/tcp": a port of the node and one of the container. */
  readonly publish?: readonly string[];
}

export interface Runtime {
  run(name: string, options?: RunOptions): Promise<Container>;
}

/** What every container runs: http://ADDRESS/cgi-bin/who answers its name and the asker's address. */
function serve(name: string): string[] {
  const script = `#!/bin/sh\\necho; echo ${name} $REMOTE_ADDR\\n`;
  return [
    "sh",
    "-ec",
    `mkdir -p /www/cgi-bin; echo -en '${script}' > /www/cgi-bin/who; chmod 755 /www/cgi-bin/who; exec httpd -f -p 80 -h /www`,
  ];
}

/** Who answers at an address, and as whom it saw the container that asks. */
export function ask(from: Container, address: string, port = 80): string {
  return plain(from.exec(["timeout", "3", "wget", "-q", "-O", "-", `http://${address}:${port}/cgi-bin/who`]));
}

/** `ask` from a node, outside all containers. */
export function askFrom({ node }: Pick<Machine, "node">, address: string, port = 80): string {
  return plain(node.run(`curl -sSg --max-time 3 http://${address}:${port}/cgi-bin/who`));
}

/** httpd shows IPv4 in IPv6's dress. */
function plain(answer: string): string {
  return answer.trim().replace(/\[::ffff:([0-9.]+)\]/, "$1");
}

/** The address that a test of one family is about. */
export function addressOf({ name, addresses: [first] }: Container): string {
  if (first === undefined) throw new Error(`${name} has no address`);
  return first;
}

/** As podman and containerd both name it. */
export const IMAGE = "localhost/busybox:latest";
/** Says that a command's output is whole. */
const END = "=end=";
/** In one container; far more than a test needs. */
const MAX_EXECS = 500;
/** A shell in a container may raise limits only to what the tests' machine lets it. */
const CONTAINERS_CONF = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "cni"
network_config_dir = "/etc/cni/net.d"
cni_plugin_dirs = ["/opt/cni/bin"]
`;
const PODMAN = ["podman", "--storage-driver=vfs"];

async function answering(container: Container): Promise<Container> {
  await until(`${container.name} listens`, () => {
    try {
      return ask(container, "127.0.0.1") !== "";
    } catch {
      return false;
    }
  });
  return container;
}

export class Podman implements Runtime {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
    machine.write("containers.conf", CONTAINERS_CONF);
    machine.run([...PODMAN, "import", makeImage(machine.directory), IMAGE]);
  }

  async run(name: string, { network = "cbr0", publish = [] }: RunOptions = {}): Promise<Container> {
    const machine = this.#machine;
    const ports = publish.flatMap((port) => ["--publish", port]);
    machine.run([...PODMAN, "run", "--detach", "--name", name, "--network", network, ...ports, IMAGE, ...serve(name)]);
    const exec = (command: readonly string[]) => machine.run([...PODMAN, "exec", name, ...command]);
    const remove = async () => void machine.run([...PODMAN, "rm", "--force", "--time=0", name]);
    return await answering({ name, machine, addresses: addressesIn(exec), exec, remove });
  }
}

export class Containerd implements Runtime {
  readonly #machine: Machine;

  private constructor(machine: Machine) {
    this.#machine = machine;
  }

  static async start(machine: Machine): Promise<Containerd> {
    machine.write("containers.conf", CONTAINERS_CONF);
    const archive = `${machine.directory}/docker.tar`;
    machine.run([...PODMAN, "import", makeImage(machine.directory), IMAGE]);
    machine.run([...PODMAN, "save", "--output", archive, IMAGE]);
    const daemon = machine.start(["containerd"]);
    await until("containerd answers", () => machine.tried(["ctr", "version"]).exitCode === 0, daemon);
    machine.run(["ctr", "image", "import", "--snapshotter=native", archive]);
    return new Containerd(machine);
  }

  /** `ctr run` stays beside the container: it is what calls DEL. */
  async run(name: string): Promise<Container> {
    const machine = this.#machine;
    const run = ["ctr", "run", "--snapshotter=native", "--cni", IMAGE, name, ...serve(name)];
    const program: Program = machine.start(run);
    let execs = 0;
    // ctr, on a busy machine, at times ends before it has passed on what the command said: then it is asked again.
    const exec = (command: readonly string[]): string => {
      for (;;) {
        const whole = ["sh", "-c", `"$@" && echo ${END}`, "sh", ...command];
        const output = machine.run(["ctr", "task", "exec", `--exec-id=${name}-${execs++}`, name, ...whole]);
        if (output.endsWith(`${END}\n`)) return output.slice(0, -END.length - 1);
        if (execs > MAX_EXECS) throw new Error(`${command.join(" ")}: got ${JSON.stringify(output)} without its end`);
      }
    };
    await until(
      `${name} runs`,
      () => / RUNNING/.test(machine.run(["ctr", "task", "list"])) && has(exec, "eth0"),
      program,
    );
    const remove = async () => {
      machine.run(["ctr", "task", "kill", "--signal=KILL", name]);
      await program.exit();
      machine.tried(["ctr", "container", "delete", name]);
    };
    return await answering({ name, machine, addresses: addressesIn(exec), exec, remove });
  }
}

function has(exec: Container["exec"], link: string): boolean {
  try {
    return / inet /.test(exec(["ip", "-4", "address", "show", "dev", link]));
  } catch {
    return false;
  }
}

function addressesIn(exec: Container["exec"]): string[] {
  const text = exec(["ip", "address", "show", "dev", "eth0", "scope", "global"]);
  const [, ipv4] = / inet ([0-9.]+)\//.exec(text) ?? [];
  const [, ipv6] = / inet6 ([0-9a-f:]+)\//.exec(text) ?? [];
  return [...(ipv4 ? [ipv4] : []), ...(ipv6 ? [`[${ipv6}]`] : [])];
}
