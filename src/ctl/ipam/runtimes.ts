// Which containers the runtimes of this host know. A runtime is at hand when its socket or its program is there; one that is and does not answer leaves a
// doubt. The directories of runc and crun, and the arguments of processes (containerd-shim -id, conmon -c), tell of containers whose manager is gone.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { findTool, TOOL_ENVIRONMENT } from "../lab/run.ts";
import { isCode } from "./reservations.ts";

export interface RuntimeView {
  /** Container id → who knows it. */
  readonly knownBy: ReadonlyMap<string, string>;
  /** Who answered. */
  readonly asked: readonly string[];
  /** Who is there and did not answer, and why. */
  readonly doubts: readonly string[];
}

/** containerd's own, k3s' and RKE2's, MicroK8s'. */
const CONTAINERD_SOCKETS = [
  "/run/containerd/containerd.sock",
  "/run/k3s/containerd/containerd.sock",
  "/var/snap/microk8s/common/run/containerd.sock",
];
const CRIO_SOCKET = "/var/run/crio/crio.sock";
const DOCKER_SOCKET = "/var/run/docker.sock";
/** A directory for each container, or for each namespace of containerd and in it for each container. */
const STATE_DIRECTORIES: readonly (readonly [path: string, depth: 1 | 2])[] = [
  ["/run/runc", 1],
  ["/run/crun", 1],
  ["/run/containerd/runc", 2],
  ["/run/containerd/io.containerd.runtime.v2.task", 2],
  ["/run/k3s/containerd/io.containerd.runtime.v2.task", 2],
  ["/run/docker/runtime-runc", 2],
];
/** Of ctr, which otherwise waits long for a socket that nobody serves. */
const CONNECT_TIMEOUT = "3s";
const ANSWER_TIMEOUT_MS = 15_000;
/** Shorter words of a command line may be anything; runtimes make ids of 64, Kubernetes' tests none below 12. */
const MIN_ID_LENGTH = 12;

export async function askRuntimes(moreContainerd: readonly string[], signal: AbortSignal): Promise<RuntimeView> {
  const knownBy = new Map<string, string>();
  const asked: string[] = [];
  const doubts: string[] = [];
  const ask = async (who: string, ids: () => Promise<readonly string[]>) => {
    try {
      for (const id of await ids()) if (!knownBy.has(id)) knownBy.set(id, who);
      asked.push(who);
    } catch (error) {
      signal.throwIfAborted();
      doubts.push(`${who} does not answer: ${error instanceof Error ? error.message : error}`);
    }
  };
  const sockets = [...CONTAINERD_SOCKETS.filter((path) => existsSync(path)), ...moreContainerd];
  await Promise.all([
    ...sockets.map((socket) => ask(`containerd at ${socket}`, () => containerdIds(socket, signal))),
    ...(existsSync(CRIO_SOCKET) ? [ask("CRI-O", () => criIds(CRIO_SOCKET, signal))] : []),
    ...(findTool("podman") ? [ask("podman", () => lines(["podman", "ps", "-a", "--no-trunc", "-q"], signal))] : []),
    ...(existsSync(DOCKER_SOCKET)
      ? [ask("docker", () => lines(["docker", "ps", "-a", "--no-trunc", "-q"], signal))]
      : []),
  ]);
  for (const [path, depth] of STATE_DIRECTORIES) {
    const parents = depth === 1 ? [path] : entries(path).map((name) => `${path}/${name}`);
    for (const parent of parents) for (const id of entries(parent)) if (!knownBy.has(id)) knownBy.set(id, parent);
  }
  for (const [id, who] of idsInArguments()) if (!knownBy.has(id)) knownBy.set(id, who);
  return { knownBy, asked, doubts };
}

/** Containers of every namespace of containerd; what CRI calls a sandbox is one too. `ctr run --cni` puts the namespace before the id it gives to plugins. */
async function containerdIds(socket: string, signal: AbortSignal): Promise<readonly string[]> {
  if (!findTool("ctr")) return await criIds(socket, signal);
  if (!existsSync(socket)) throw new Error("there is no such socket");
  const ctr = ["ctr", `--connect-timeout=${CONNECT_TIMEOUT}`, "--address", socket];
  const namespaces = await lines([...ctr, "namespaces", "list", "-q"], signal);
  const lists = namespaces.map(async (name) => {
    const ids = await lines([...ctr, "--namespace", name, "containers", "list", "-q"], signal);
    return ids.flatMap((id) => [id, `${name}-${id}`]);
  });
  return (await Promise.all(lists)).flat();
}

async function criIds(socket: string, signal: AbortSignal): Promise<readonly string[]> {
  return await lines(["crictl", "--runtime-endpoint", `unix://${socket}`, "pods", "--no-trunc", "-q"], signal);
}

/** What a command prints; throws when it fails, takes too long or is not there. */
async function lines(command: readonly string[], signal: AbortSignal): Promise<string[]> {
  const [name = ""] = command;
  if (!findTool(name)) throw new Error(`the program ${name} is not in PATH`);
  const child = Bun.spawn([...command], {
    // podman and docker are told by the environment where their containers are.
    env: { ...process.env, ...TOOL_ENVIRONMENT },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: ANSWER_TIMEOUT_MS,
    killSignal: "SIGKILL",
    signal,
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  signal.throwIfAborted();
  if (code !== 0)
    throw new Error(err.trim().split("\n").at(-1) || `${name} ended with ${child.signalCode ?? `exit code ${code}`}`);
  return out.split("\n").filter((line) => line !== "");
}

function* idsInArguments(): Generator<readonly [id: string, who: string]> {
  for (const pid of entries("/proc")) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    let words: string[];
    try {
      words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    } catch (error) {
      if (isCode(error, "ENOENT", "ESRCH")) continue;
      throw error;
    }
    for (const word of words.slice(1)) if (word.length >= MIN_ID_LENGTH) yield [word, `process ${pid}`];
  }
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isCode(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}
