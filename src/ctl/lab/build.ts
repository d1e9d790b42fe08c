// `lab up`: from nothing to a network whose pods reach each other. Nodes are made at the same time; each goes its own
// way from namespace to pods.

import { mkdirSync } from "node:fs";
import type { Address } from "../../ip/address.ts";
import { FAMILIES, type PerFamily } from "../../ip/family.ts";
import type { Prefix } from "../../ip/prefix.ts";
import type { Lab, LabNode } from "./layout.ts";
import { readStatus, readSubnet, startDaemon, waitForDaemon } from "./nodes.ts";
import { makePods } from "./pods.ts";
import { identify, type ProcessId } from "./processes.ts";
import type { Progress } from "./progress.ts";
import { reachesAll } from "./routes.ts";
import { type LabState, writeState } from "./state.ts";
import { writeNetworkConfig } from "./store.ts";
import { together } from "./together.ts";
import { configureNode, makeNamespaces, makeSwitch } from "./topology.ts";

/** What the nodes tell each other while they are being made; keeps the state file true. */
class Journal {
  readonly #lab: Lab;
  readonly #owner: ProcessId;
  readonly #daemons: Record<string, ProcessId> = {};
  readonly #pods: Record<string, PerFamily<Address>> = {};
  readonly #subnets = new Map<LabNode, PerFamily<Prefix>>();

  constructor(lab: Lab) {
    const owner = identify(process.pid);
    if (!owner) throw new Error("cannot read /proc/self/stat; is /proc mounted?");
    this.#lab = lab;
    this.#owner = owner;
  }

  addDaemon(node: LabNode, daemon: ProcessId): void {
    this.#daemons[node.name] = daemon;
    this.write("building");
  }

  addPods(pods: Record<string, PerFamily<Address>>): void {
    Object.assign(this.#pods, pods);
  }

  addSubnet(node: LabNode, subnet: PerFamily<Prefix>): void {
    this.#subnets.set(node, subnet);
  }

  /** The subnets of all other nodes; undefined until all have theirs. */
  peersOf(node: LabNode): PerFamily<Prefix>[] | undefined {
    if (this.#subnets.size < this.#lab.nodes.length) return undefined;
    return [...this.#subnets].flatMap(([other, subnet]) => (other === node ? [] : [subnet]));
  }

  write(phase: LabState["phase"]): LabState {
    const state = {
      options: this.#lab.options,
      phase,
      owner: this.#owner,
      daemons: this.#daemons,
      pods: this.#pods,
    };
    writeState(this.#lab, state);
    return state;
  }
}

/**
 * Builds a lab whose name is claimed. Throws when it cannot, or when `signal` aborts, and leaves what it made until
 * then to the caller to remove.
 */
export async function buildLab(lab: Lab, flanneld: string, progress: Progress, signal: AbortSignal): Promise<LabState> {
  const journal = new Journal(lab);
  journal.write("building");
  mkdirSync(lab.storeDirectory, { recursive: true });
  progress.step("switch", "making namespaces");
  await makeNamespaces(lab, signal);
  await together([(stop) => makeSwitch(lab, stop), (stop) => writeNetworkConfig(lab, stop)], signal);
  progress.step("switch", `br0 in ${lab.switchNamespace}, ports: ${lab.nodes.length}`, "done");
  const nodes = lab.nodes.map((node) => (stop: AbortSignal) => buildNode(lab, node, flanneld, journal, progress, stop));
  await together(nodes, signal);
  return journal.write("up");
}

async function buildNode(
  lab: Lab,
  node: LabNode,
  flanneld: string,
  journal: Journal,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  try {
    await configureNode(node, signal);
    const daemon = startDaemon(lab, node, flanneld, (started) => journal.addDaemon(node, started));
    progress.step(node.name, `flanneld started, pid ${daemon.pid}; waiting for its lease`);
    const leased = await waitForDaemon(node, daemon, "lease", () => readSubnet(node), signal);
    const subnets = formatSubnets(leased.subnet);
    journal.addSubnet(node, leased.subnet);
    progress.step(node.name, `leased ${subnets}; waiting for its peers`);
    journal.addPods(await makePods(node, leased, signal));
    const settled = new Settled();
    await waitForDaemon(node, daemon, "overlay", () => isUp(node, journal.peersOf(node), settled, signal), signal);
    const counts = `peers: ${lab.nodes.length - 1}, pods: ${node.pods.length}`;
    progress.step(node.name, `${subnets}, overlay up; ${counts}`, "done");
  } catch (error) {
    progress.step(node.name, signal.aborted ? "stopped" : "failed", "failed");
    throw error;
  }
}

/** "10.244.1.0/24 fd00:10:244:1::/64" */
export function formatSubnets(subnet: PerFamily<Prefix>): string {
  return FAMILIES.map((family) => subnet[family])
    .filter((prefix) => prefix !== undefined)
    .join(" ");
}

/** Some backends make no routes (alloc, commands that do something else): then flanneld's own word has to do, once it has stood for a while. */
class Settled {
  #since: number | undefined;

  /** Whether `holds` has held for so long. */
  for(ms: number, holds: boolean): boolean {
    if (holds) this.#since ??= performance.now();
    else this.#since = undefined;
    return this.#since !== undefined && performance.now() - this.#since > ms;
  }
}

const SETTLED_MS = 1_000;

async function isUp(
  node: LabNode,
  peers: readonly PerFamily<Prefix>[] | undefined,
  settled: Settled,
  signal: AbortSignal,
): Promise<true | undefined> {
  const status = readStatus(node);
  if (!peers || status?.phase !== "ready") return undefined;
  if (await reachesAll(node, peers, signal)) return true;
  const all = status.peers === peers.length && (status.failing ?? 0) === 0;
  return settled.for(SETTLED_MS, all) || undefined;
}
