// flanneld on a lab's nodes: each in the node's network namespace, with a /run of its own that holds nothing but its
// files and the shared store.

import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseStatus, type Status } from "../../config/status.ts";
import { parseSubnetEnv, previousLease } from "../../config/subnet_env.ts";
import { familiesOf } from "../../ip/family.ts";
import { type Lab, type LabNode, namespacePath } from "./layout.ts";
import type { NodeSubnet } from "./pods.ts";
import { identify, isAlive, type ProcessId } from "./processes.ts";
import { TOOL_ENVIRONMENT } from "./run.ts";

/** Where a node's probe finds flanneld's health, in its namespace. */
export const HEALTH_PORT = 8081;

/** How long a daemon may take for its lease, and then for its overlay. */
const READY_TIMEOUT_MS = 20_000;
const POLL_MS = 10;
/** Lines of a log that show why it failed. */
const TAIL_LINES = 20;

/**
 * Run by sh in the node's namespaces; becomes flanneld, so that the pid recorded is flanneld's. It waits for one line
 * on its input: by then the pid is recorded, and when flannelctl was killed before that, the line never comes and
 * nothing runs that nobody knows of.
 */
const START = `
read -r _ || exit 1
mount --bind "$1" "$2/store"
mount --rbind "$2" /run
shift 2
exec "$@" </dev/null`;

function daemonCommand(lab: Lab, node: LabNode, flanneld: string): string[] {
  return [
    "nsenter",
    `--net=${namespacePath(node.namespace)}`,
    // Slave: our mounts stay in here, and a namespace that is deleted outside goes away in here too.
    ...["unshare", "--mount", "--propagation", "slave"],
    ...["sh", "-ec", START, "sh", lab.storeDirectory, node.runDirectory],
    flanneld,
    "--store-file=/run/store/store.db",
    "--subnet-file=/run/flannel/subnet.env",
    "--iface=eth0",
    `--healthz-port=${HEALTH_PORT}`,
  ];
}

/**
 * Starts a node's flanneld in a session of its own: it outlives `lab up` and the terminal. `record` is called before
 * it does anything.
 */
export function startDaemon(lab: Lab, node: LabNode, flanneld: string, record: (daemon: ProcessId) => void): ProcessId {
  mkdirSync(`${node.runDirectory}/store`, { recursive: true });
  const log = openSync(node.logFile, "a");
  try {
    const child = Bun.spawn(daemonCommand(lab, node, flanneld), {
      env: TOOL_ENVIRONMENT,
      cwd: "/",
      stdin: "pipe",
      stdout: log,
      stderr: log,
      detached: true,
    });
    child.unref();
    const daemon = identify(child.pid);
    if (!daemon) throw new Error(`cannot start flanneld on ${node.name}: it ended at once`);
    record(daemon);
    child.stdin.write("go\n");
    void child.stdin.end();
    return daemon;
  } finally {
    closeSync(log);
  }
}

/**
 * Polls until `look` finds something; throws with the end of the node's log when flanneld ends first or takes too
 * long.
 */
export async function waitForDaemon<T>(
  node: LabNode,
  daemon: ProcessId,
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
  signal: AbortSignal,
): Promise<T> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    signal.throwIfAborted();
    if (!isAlive(daemon)) throw new Error(`flanneld on ${node.name} ended while waiting for ${what}${logTail(node)}`);
    if (performance.now() > deadline) {
      throw new Error(`flanneld on ${node.name} has no ${what} after ${READY_TIMEOUT_MS / 1000} s${logTail(node)}`);
    }
    await sleep(POLL_MS);
  }
}

function logTail(node: LabNode): string {
  const lines = (readText(node.logFile) ?? "").trimEnd().split("\n").slice(-TAIL_LINES);
  return `; its log ends:\n${lines.map((text) => `  ${text}`).join("\n")}`;
}

/** What flanneld says of itself; undefined before it has. */
export function readStatus(node: LabNode): Status | undefined {
  return parseStatus(readText(node.statusFile) ?? "");
}

/** What the node leased; undefined before it has. */
export function readSubnet(node: LabNode): NodeSubnet | undefined {
  const file = parseSubnetEnv(readText(node.subnetFile) ?? "");
  const { subnet } = previousLease(file);
  return file.mtu !== undefined && familiesOf(subnet).length > 0 ? { subnet, mtu: file.mtu } : undefined;
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
