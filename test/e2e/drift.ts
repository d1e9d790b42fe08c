// What people and programs do to flannel's objects behind its back, and how long it takes flanneld to put them right, as `ip monitor` sees it: from the
// kernel's message about the damage to its message about the last repair. The observer shares nothing with flanneld; it
// stamps a message when it reads it, so that a single figure of less than a millisecond can be too small.

import type { Family } from "../../src/ip/family.ts";
import type { Flanneld } from "./flanneld.ts";
import type { Node } from "./nodes.ts";
import { type Program, until } from "./program.ts";

export interface Drift {
  readonly name: string;
  /** Shell commands on `node`, against what it has for `peer`. */
  damage(node: Node, peer: Node): string;
}

const DEVICE: Record<Family, string> = { ipv4: "flannel.1", ipv6: "flannel-v6.1" };
const on4 = (node: Node, dev = DEVICE.ipv4) => ({ dev, base: node.overlay("ipv4"), mac: node.link(dev)?.mac });

export const DRIFTS: readonly Drift[] = [
  {
    name: "FDB entry deleted",
    damage: (_, peer) => `bridge fdb delete ${on4(peer).mac} dev flannel.1 dst ${peer.address.ipv4} self`,
  },
  {
    name: "FDB entry to a wrong VTEP",
    damage: (_, peer) => `bridge fdb replace ${on4(peer).mac} dev flannel.1 dst 192.168.77.250 self permanent`,
  },
  { name: "neighbour deleted", damage: (_, peer) => `ip neighbour delete ${peer.overlay()} dev flannel.1` },
  {
    name: "neighbour with a wrong MAC",
    damage: (_, peer) => `ip neighbour replace ${peer.overlay()} lladdr 02:bb:bb:bb:bb:bb dev flannel.1 nud permanent`,
  },
  { name: "route deleted", damage: (_, peer) => `ip route delete ${peer.subnet()}` },
  {
    name: "IPv6 route deleted",
    damage: (_, peer) => `ip -6 route delete ${peer.subnet("ipv6")}`,
  },
  {
    name: "route to a wrong gateway",
    damage: (_, peer) => `ip route replace ${peer.subnet()} via 192.168.77.250`,
  },
  {
    name: "nexthop object deleted",
    damage: (_, peer) =>
      `ip nexthop delete id $(ip nexthop | sed -n 's/^id \\([0-9]*\\) via ${peer.overlay()} .*/\\1/p')`,
  },
  { name: "address removed", damage: (node) => `ip address delete ${node.overlay()}/32 dev flannel.1` },
  { name: "MTU changed", damage: () => "ip link set flannel.1 mtu 1280" },
  { name: "MAC rewritten", damage: () => "ip link set flannel.1 address 02:cc:cc:cc:cc:cc" },
  { name: "ip link set flannel.1 down", damage: () => "ip link set flannel.1 down" },
  { name: "ip link set flannel-v6.1 down", damage: () => "ip link set flannel-v6.1 down" },
  { name: "flannel.1 deleted", damage: () => "ip link delete flannel.1" },
  { name: "flannel-v6.1 deleted", damage: () => "ip link delete flannel-v6.1" },
];

export interface Repair {
  readonly name: string;
  readonly ms: number;
}

/** `ip monitor` on a node. */
export class Observer {
  readonly #node: Node;
  readonly #monitor: Program;

  private constructor(node: Node, monitor: Program) {
    this.#node = node;
    this.#monitor = monitor;
  }

  static async start(node: Node): Promise<Observer> {
    const monitor = node.spawn(["ip", "-ts", "monitor", "link", "address", "route", "neigh", "nexthop"]);
    await until(
      "ip monitor",
      () => {
        node.run("ip link set lo alias watched && ip link set lo alias ''");
        return monitor.output.includes("lo:");
      },
      monitor,
    );
    return new Observer(node, monitor);
  }

  /** Waits until it has said all that has happened so far, and returns the mark for what comes. */
  async caughtUp(): Promise<number> {
    const { mark } = this;
    const address = `127.${(mark >> 16) & 255}.${(mark >> 8) & 255}.${mark & 255}/32`; // on lo, and of nobody
    this.#node.run(`ip address replace ${address} dev lo && ip address delete ${address} dev lo`);
    await until("ip monitor", () => /Deleted .*\blo\b.*inet /.test(this.since(mark)), this.#monitor);
    return this.mark;
  }

  /** All that was said since `mark`, so far. */
  since(mark: number): string {
    return this.#monitor.output.slice(mark);
  }

  get mark(): number {
    return this.#monitor.output.length;
  }

  /** Resolves when nothing has been said for a while: what was done before is before `mark`, and a change too many has shown. */
  async quiet(): Promise<void> {
    for (let before = -1; before !== this.mark; ) {
      before = this.mark;
      await Bun.sleep(100);
    }
  }

  /** Damages what stands and waits until it stands again. */
  async repair({ name, damage }: Drift, peer: Node, flanneld: Flanneld): Promise<Repair> {
    const before = this.#node.objects();
    const { mark } = this;
    this.#node.run(damage(this.#node, peer));
    const seen = await until(`"${name}" repaired`, () => this.#repairedBy(before), flanneld);
    const times = eventTimes(this.since(mark)).filter((at) => at < seen + 1);
    const [first, last] = [times[0], times.at(-1)];
    if (first === undefined || last === undefined) throw new Error(`ip monitor saw nothing of "${name}"`);
    return { name, ms: last - first };
  }

  /** When it was seen that all stands as before, in milliseconds since the epoch. */
  async #repairedBy(before: readonly string[]): Promise<number | undefined> {
    if (!Bun.deepEquals(this.#node.objects(), before)) return undefined;
    const now = Date.now();
    await Bun.sleep(30); // what the monitor has heard is also to be read
    return now;
  }
}

/** Milliseconds since the epoch, of every message about flannel's devices and networks that is not the kernel's own link-local and multicast business. */
function eventTimes(text: string): number[] {
  const events = text.split(/^(?=\[)/m).filter((event) => !/fe80:|ff0[0-9a-f]*:|\blo:/.test(event));
  return events.map(timeOf).filter((at) => !Number.isNaN(at));
}

/** "[2026-01-31T12:00:00.123456] …": Date.parse() would drop the microseconds. */
function timeOf(event: string): number {
  const [, second = "", fraction = ""] = /^\[([\dT:-]+)(\.\d+)\]/.exec(event) ?? [];
  return Date.parse(second) + Number(fraction) * 1000;
}

/** Repairs of every drift in turn on a node with two peers, which take turns too: no object is damaged so often that flanneld would take it for a fight. */
export async function repairAll(observer: Observer, peers: readonly Node[], flanneld: Flanneld): Promise<Repair[]> {
  const repairs: Repair[] = [];
  for (const [i, drift] of DRIFTS.entries()) {
    const peer = peers[i % peers.length];
    if (peer) repairs.push(await observer.repair(drift, peer, flanneld));
  }
  return repairs;
}

/** One line a drift. */
export function repairTable(repairs: readonly Repair[]): string {
  const width = Math.max(...repairs.map(({ name }) => name.length));
  return repairs.map(({ name, ms }) => `${name.padEnd(width)}  ${ms.toFixed(1).padStart(6)} ms`).join("\n");
}
