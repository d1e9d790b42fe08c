// A lab's state file: what `lab up` started and where, kept up to date while it builds, so that `lab status`, `ping`
// and `down` know it, also after a crash. Written whole and renamed into place: a reader never sees half of it.

import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomically } from "../../daemon/atomic_file.ts";
import type { Address } from "../../ip/address.ts";
import type { PerFamily } from "../../ip/family.ts";
import { isLabName, type Lab, type LabOptions, labDirectory, labOfNamespace, layoutOf, STATE_ROOT } from "./layout.ts";
import type { Endpoint } from "./ping.ts";
import type { ProcessId } from "./processes.ts";

const VERSION = 1;

export interface LabState {
  readonly options: LabOptions;
  readonly phase: "building" | "up";
  /** The `lab up` that builds, or built, it. */
  readonly owner: ProcessId;
  /** flanneld by node name. */
  readonly daemons: Readonly<Record<string, ProcessId>>;
  /** Addresses by pod name. */
  readonly pods: Readonly<Record<string, PerFamily<Address>>>;
}

export function formatState(state: LabState): string {
  return `${JSON.stringify({ version: VERSION, ...state }, undefined, 2)}\n`;
}

/** Throws when it is not a state file of this version. */
export function parseState(text: string): LabState {
  const json = JSON.parse(text) as Partial<LabState> & { version?: unknown };
  const { version, options, phase, owner, daemons, pods } = json;
  if (version !== VERSION) throw new Error(`version is ${JSON.stringify(version)}, want ${VERSION}`);
  if (!options || !owner || !daemons || !pods || (phase !== "building" && phase !== "up")) {
    throw new Error("it is not a lab's state");
  }
  return { options, phase, owner, daemons, pods };
}

export function writeState(lab: Lab, state: LabState): void {
  writeFileAtomically(lab.stateFile, formatState(state), 0o644);
}

/** undefined when there is none: no such lab, or one that crashed in its first moment. */
export function readState(name: string, root = STATE_ROOT): LabState | undefined {
  const file = join(labDirectory(name, root), "state.json");
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return parseState(text);
  } catch (cause) {
    throw new Error(`cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}

/** Takes the name: throws when a lab of this name stands, or was left half built. */
export function claim(lab: Lab, root = STATE_ROOT): void {
  const { name } = lab.options;
  const taken = new Error(`lab ${name} already stands, or was left half built; remove it with: ${downCommand(name)}`);
  if (namespacesOf(name).length > 0) throw taken;
  mkdirSync(root, { recursive: true, mode: 0o755 });
  try {
    mkdirSync(lab.directory);
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === "EEXIST" ? taken : error;
  }
}

export function downCommand(name: string): string {
  return `flannelctl lab down --name ${name}`;
}

/** Names of the network namespaces that belong to a lab, or to any lab. */
export function namespacesOf(name: string | undefined): string[] {
  return entriesOf("/run/netns").filter((namespace) => {
    const owner = labOfNamespace(namespace);
    return owner !== undefined && (name === undefined || owner === name);
  });
}

/** Names of all labs that left a trace on this machine. */
export function labNames(root = STATE_ROOT): string[] {
  const owners = namespacesOf(undefined).map((namespace) => labOfNamespace(namespace) ?? "");
  return [...new Set([...entriesOf(root).filter(isLabName), ...owners])].sort();
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** A lab that stands, for the commands that look at one. */
export function openLab(name: string, root = STATE_ROOT): { lab: Lab; state: LabState } {
  const state = readState(name, root);
  if (!state) {
    const others = labNames(root).join(", ");
    throw new Error(`no lab ${name} stands; ${others ? `there are: ${others}` : "make it with: flannelctl lab up"}`);
  }
  if (state.phase !== "up") throw new Error(`lab ${name} is not complete; remove it with: ${downCommand(name)}`);
  return { lab: layoutOf(state.options, root), state };
}

/** The pods of a lab, for the matrix. */
export function endpointsOf(lab: Lab, pods: LabState["pods"]): Endpoint[] {
  return lab.nodes.flatMap((node) =>
    node.pods.map(({ name, namespace }) => ({ name, namespace, address: pods[name] ?? {} })),
  );
}
