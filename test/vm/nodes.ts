// Nodes in a guest, for tests of flanneld with kernel modules that this machine may lack: one machine, whose nodes are namespaces on a switch, and one store.
// The script (after nodes.sh and wire.sh, which say what it may use) does everything in one go, since a start of anything is slow on an emulated processor; what came
// about it says in lines, which the test compares section by section. VM_VERBOSE shows what the guest says.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Family } from "../../src/ip/family.ts";
import { FLANNELD } from "../e2e/nodes.ts";
import { Store } from "../e2e/store.ts";
import { type GuestResult, runGuest } from "./guest.ts";
import { type Architecture, NATIVE } from "./machine.ts";

export interface NodesOptions {
  /** This machine's, unless it is said. */
  readonly architecture?: Architecture;
  /** Of that architecture. */
  readonly flanneld?: string;
  /** Path of the script. */
  readonly script: string;
  /** The network configuration that the store begins with. */
  readonly config: object;
  readonly nodes?: number;
  /** Of the underlay. */
  readonly families?: readonly Family[];
  /** An etcd in the guest instead of the embedded store, for programs other than ours. */
  readonly etcd?: boolean;
  /** Beside those that every script has: ip, bridge, nsenter, unshare, ping, sysctl, tcpdump, ethtool, date, flanneld and flannelctl. */
  readonly programs?: readonly string[];
  readonly modules?: readonly string[];
  /** Path in the guest → path here. */
  readonly files?: Readonly<Record<string, string>>;
  /** Of the script. */
  readonly variables?: Readonly<Record<string, string | number>>;
  readonly memoryMib?: number;
  readonly timeLimitMs: number;
}

export class NodesResult {
  readonly #guest: GuestResult;

  constructor(guest: GuestResult) {
    this.#guest = guest;
  }

  /** The lines that the script said in a section. */
  said(section: string): readonly string[] {
    const text = this.#guest.files.get(`said/${section}`);
    return text === undefined ? [] : text.trimEnd().split("\n");
  }

  /** What the script left in /out. */
  file(name: string): string {
    const text = this.#guest.files.get(name);
    if (text === undefined) throw new Error(`the script left no ${name}, only ${[...this.#guest.files.keys()].sort()}`);
    return text.trimEnd();
  }

  has(name: string): boolean {
    return this.#guest.files.has(name);
  }

  /** What the flannelds of a node logged. */
  log(n: number, pattern: RegExp): readonly string[] {
    return this.file(`log-${n}`)
      .split("\n")
      .filter((line) => pattern.test(line));
  }
}

/** Runs the script; throws with what it said when it cannot go on. */
export async function runNodes(options: NodesOptions): Promise<NodesResult> {
  const { architecture = NATIVE, flanneld = FLANNELD } = options;
  const { config, nodes = 3, families = ["ipv4", "ipv6"], etcd = false, memoryMib = 2048 } = options;
  const directory = mkdtempSync(join(tmpdir(), "flannel-nodes-"));
  try {
    const storeFile = join(directory, "store.db");
    const store = await Store.open(storeFile);
    await store.configure(config);
    store[Symbol.dispose]();
    const variables = {
      NODES: nodes,
      FAMILIES: families.join(" "),
      STORE_FLAGS: etcd ? "--etcd-endpoints=http://192.168.77.254:2379" : "--store-file=/store.db",
      ETCD: etcd ? 1 : "",
      CONFIG: JSON.stringify(config),
      ...options.variables,
    };
    const text = (path: string) => readFileSync(path, "utf8");
    const assignments = Object.entries(variables).map(([name, value]) => `${name}='${value}'\n`);
    const own = ["nodes.sh", "wire.sh"].map((name) => text(join(import.meta.dir, name)));
    const programs = ["ip", "bridge", "nsenter", "unshare", "ping", "sysctl", "tcpdump", "ethtool", "date", flanneld];
    const guest = await runGuest({
      architecture,
      script: [...assignments, ...own, text(options.script)].join(""),
      programs: [...programs, ...(etcd ? ["etcd", "etcdctl"] : []), ...(options.programs ?? [])],
      modules: ["bridge", "veth", "af_packet", ...(options.modules ?? [])],
      files: { "/store.db": storeFile, ...options.files },
      memoryMib,
      processors: 2,
      timeLimitMs: options.timeLimitMs,
      onLine: process.env.VM_VERBOSE ? console.log : undefined,
    });
    if (guest.status !== 0) throw new Error(`${options.script}: exit ${guest.status}\n${guest.output}`);
    return new NodesResult(guest);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What ping_all says when every pod reaches every other. */
export function everyPing(families: readonly Family[], nodes = 3): readonly string[] {
  const numbers = Array.from({ length: nodes }, (_, i) => i + 1);
  const pairs = numbers.flatMap((from) => numbers.filter((to) => to !== from).map((to) => `${from} > ${to}`));
  return pairs.flatMap((pair) => families.map((family) => `${pair} ${family}: 3 of 3`));
}
