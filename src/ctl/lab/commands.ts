// The verbs of `flannelctl lab`. Each prints for a person or, with `json`, one JSON object on standard output, and
// resolves to the exit code.

import { backendOfType } from "../../backend/backends.ts";
import { familiesOf } from "../../ip/family.ts";
import type { Session } from "../session.ts";
import { line, paint, tableLines } from "../terminal.ts";
import { buildLab, formatSubnets } from "./build.ts";
import { type Lab, type LabOptions, layoutOf } from "./layout.ts";
import { printMatrix, summarize } from "./matrix.ts";
import { readStatus } from "./nodes.ts";
import { pingAllPairs } from "./ping.ts";
import { isAlive } from "./processes.ts";
import { Progress } from "./progress.ts";
import { type Removed, removeLab } from "./remove.ts";
import { findFlanneld, LAB_TOOLS, requireTools } from "./requirements.ts";
import { claim, downCommand, endpointsOf, type LabState, labNames, openLab } from "./state.ts";
import { type LabLease, readLeases, vtepMac } from "./store.ts";

type Outputs = Pick<Session, "out" | "err">;

/** Builds a lab, or throws and leaves nothing of it. */
export async function standUp(
  options: LabOptions,
  flanneld: string | undefined,
  progress: Progress,
  signal: AbortSignal,
): Promise<{ lab: Lab; state: LabState }> {
  const lab = layoutOf(options);
  const executable = findFlanneld(flanneld);
  claim(lab);
  return await orRemove(options.name, async () => ({
    lab,
    state: await buildLab(lab, executable, progress, signal),
  }));
}

/** Runs `work` on a lab; when it throws, the lab goes with it. */
export async function orRemove<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { left } = await removeLab(name);
    if (left.length > 0) throw new Error(`${(error as Error).message}\n${leftText(left)}`, { cause: error });
    throw error;
  }
}

export interface UpOptions {
  readonly lab: LabOptions;
  readonly flanneld: string | undefined;
  readonly count: number;
  readonly json: boolean;
}

export async function up(options: UpOptions, { out, err }: Outputs, signal: AbortSignal): Promise<number> {
  backendOfType(options.lab.backend, "--backend").config(options.lab.backendOptions ?? {}, "--backend");
  requireTools(LAB_TOOLS);
  const progress = new Progress(options.json ? err : out);
  const { lab, state } = await standUp(options.lab, options.flanneld, progress, signal);
  progress.end();
  const { leases, pairs } = await orRemove(options.lab.name, async () => ({
    leases: await readLeases(lab, signal),
    pairs: await pingAllPairs(endpointsOf(lab, state.pods), options.count, signal),
  }));
  if (options.json) {
    line(out, JSON.stringify({ name: lab.options.name, leases, matrix: { ...summarize(pairs), results: pairs } }));
    return summarize(pairs).ok ? 0 : 1;
  }
  line(out);
  for (const text of leaseLines(leases)) line(out, text);
  line(out);
  const { ok } = printMatrix(pairs, out);
  line(out);
  line(out, `look inside: ip netns exec ${lab.nodes[0]?.namespace} ip route`);
  line(out, `remove it:   ${downCommand(lab.options.name)}`);
  return ok ? 0 : 1;
}

/** Who owns which subnet. */
export function leaseLines(leases: readonly LabLease[]): string[] {
  const head = ["NODE", "PUBLIC IP", "SUBNET"];
  const hasMacs = leases.some(({ backendData }) =>
    familiesOf(backendData).some((family) => vtepMac(backendData[family])),
  );
  const rows = leases.map(({ node, publicIp, subnet, backendData }) => [
    node,
    familiesOf(publicIp)
      .map((family) => publicIp[family])
      .join(" "),
    formatSubnets(subnet),
    ...(hasMacs
      ? [
          familiesOf(backendData)
            .map((family) => vtepMac(backendData[family]) ?? "-")
            .join(" "),
        ]
      : []),
  ]);
  return tableLines([hasMacs ? [...head, "VTEP MAC"] : head, ...rows]);
}

export async function ping(
  options: { readonly name: string; readonly count: number; readonly json: boolean },
  { out }: Outputs,
  signal: AbortSignal,
): Promise<number> {
  const { lab, state } = openLab(options.name);
  requireTools(LAB_TOOLS);
  const pairs = await pingAllPairs(endpointsOf(lab, state.pods), options.count, signal);
  if (options.json) line(out, JSON.stringify({ name: options.name, ...summarize(pairs), results: pairs }));
  return (options.json ? summarize(pairs) : printMatrix(pairs, out)).ok ? 0 : 1;
}

interface NodeReport {
  readonly name: string;
  readonly pid: number | undefined;
  readonly alive: boolean;
  readonly phase: string | undefined;
  readonly cause: string | undefined;
  readonly peers: number | undefined;
}

/** Exit code 1 when a flanneld is gone or not ready. */
export async function status(
  options: { readonly name: string; readonly json: boolean },
  { out }: Outputs,
  signal: AbortSignal,
): Promise<number> {
  const { lab, state } = openLab(options.name);
  const leases = await readLeases(lab, signal);
  const nodes = lab.nodes.map((node): NodeReport => {
    const daemon = state.daemons[node.name];
    const { phase, cause, peers } = readStatus(node) ?? {};
    return { name: node.name, pid: daemon?.pid, alive: daemon !== undefined && isAlive(daemon), phase, cause, peers };
  });
  const ok = nodes.every((node) => node.alive && node.phase === "ready");
  if (options.json) {
    line(out, JSON.stringify({ name: options.name, ok, nodes, leases }));
    return ok ? 0 : 1;
  }
  const rows = nodes.map(({ name, pid, alive, phase, cause, peers }) => [
    name,
    alive ? `pid ${pid}` : paint(out, "red", "gone"),
    alive && phase !== undefined ? phase + (cause ? `: ${cause}` : "") : "-",
    `${peers ?? "-"}`,
  ]);
  for (const text of tableLines([["NODE", "FLANNELD", "PHASE", "PEERS"], ...rows])) line(out, text);
  line(out);
  for (const text of leaseLines(leases)) line(out, text);
  return ok ? 0 : 1;
}

/** Not an error when there is nothing to remove: afterwards it is gone. */
export async function down(
  options: { readonly names: readonly string[] | "all"; readonly json: boolean },
  { out }: Outputs,
): Promise<number> {
  requireTools(LAB_TOOLS);
  const names = options.names === "all" ? labNames() : options.names;
  const removed: (Removed & { name: string })[] = [];
  for (const name of names) removed.push({ name, ...(await removeLab(name)) });
  if (options.json) line(out, JSON.stringify({ removed }));
  for (const { name, processes, namespaces, left } of options.json ? [] : removed) {
    line(out, `lab ${name}: processes ended: ${processes}, network namespaces removed: ${namespaces}`);
    if (left.length > 0) line(out, paint(out, "red", leftText(left)));
  }
  if (!options.json && removed.length === 0) line(out, "there is no lab");
  return removed.every(({ left }) => left.length === 0) ? 0 : 1;
}

function leftText(left: readonly string[]): string {
  return `still there:\n${left.map((text) => `  ${text}`).join("\n")}`;
}
