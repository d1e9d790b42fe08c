// What every backend must do, on three nodes with a pod behind a bridge on each: all pairs reach each other, with packets as large as the MTU says; what somebody
// damages is repaired; a restart loses nothing; peers join, move, become somebody else and leave. A backend says what it has, and the
// contract is run for it: backendContract({ title: "host-gw", config: …, families: …, drifts: … }).

import { expect, test } from "bun:test";
import type { Family } from "../../src/ip/family.ts";
import { becomes } from "./becomes.ts";
import type { Flanneld } from "./flanneld.ts";
import { type Node, Underlay, type UnderlayOptions } from "./nodes.ts";
import { Pod } from "./pod.ts";
import { until } from "./program.ts";
import { leaseKey } from "./store.ts";
import { PingStream } from "./traffic.ts";

const TEST_MS = 120_000;
const NODES = 3;

export interface BackendDrift {
  readonly name: string;
  /** Shell commands on `node`, against what it has for `peer`; or damages the underlay itself and returns ":". */
  damage(node: Node, peer: Node, underlay: Underlay): string;
  /** It is over before anybody can look: there is no seeing that it did harm. */
  readonly passing?: true;
}

export interface BackendCase {
  readonly title: string;
  /** The network configuration, with IPv6 when `families` has it. */
  readonly config: object;
  readonly families: readonly Family[];
  readonly flags?: readonly string[];
  readonly drifts: readonly BackendDrift[];
  /** Packets that the restart of one node's flanneld may cost a stream of a thousand a second; 0 unless said. */
  readonly restartLoss?: number;
  /** What stands on a node beside flannel's links, routes and nexthops, one thing a line: `wg show`, say. */
  readonly also?: (node: Node) => string;
  /** There is no route to each peer in the kernel to wait for. */
  readonly oneRoute?: true;
  /** Shell commands on a stopped node whose lease is gone, after which it is somebody else to its peers: another MAC, another key. */
  readonly forget?: (node: Node) => string;
}

/** Nodes with their daemons and pods, gone with their owner. */
export class PodNetwork implements AsyncDisposable {
  readonly underlay: Underlay;
  readonly #backend: Pick<BackendCase, "families" | "flags">;
  readonly #daemons = new Map<Node, Flanneld>();
  readonly #pods = new Map<Node, Pod>();

  private constructor(underlay: Underlay, backend: Pick<BackendCase, "families" | "flags">) {
    this.underlay = underlay;
    this.#backend = backend;
  }

  /** `started`: how many of the nodes run from the beginning. */
  static async open(
    backend: Pick<BackendCase, "config" | "families" | "flags"> & Pick<UnderlayOptions, "router" | "only">,
    started = NODES,
    nodes = NODES,
  ): Promise<PodNetwork> {
    const { config, router = false, only } = backend;
    const underlay = await Underlay.open({ nodes, config, router, ...(only && { only }) });
    const network = new PodNetwork(underlay, backend);
    try {
      await Promise.all(underlay.nodes.slice(0, started).map((node) => network.start(node)));
      for (const node of underlay.nodes.slice(0, started)) network.addPod(node);
      return network;
    } catch (error) {
      await network[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Nodes that have a pod. */
  get nodes(): Node[] {
    return [...this.#pods.keys()];
  }

  async start(node: Node): Promise<Flanneld> {
    const flanneld = await node.flanneld({ flags: this.#backend.flags ?? [] }).ready();
    this.#daemons.set(node, flanneld);
    return flanneld;
  }

  addPod(node: Node): Pod {
    const pod = new Pod(this.underlay, node, this.#backend.families);
    this.#pods.set(node, pod);
    return pod;
  }

  /** It is counted no more; its bridge and namespace stay. */
  forgetPod(node: Node): void {
    this.#pods.get(node)?.[Symbol.dispose]();
    this.#pods.delete(node);
  }

  flanneld(node: Node): Flanneld {
    const flanneld = this.#daemons.get(node);
    if (!flanneld) throw new RangeError(`Node ${node.n} has no flanneld yet`);
    return flanneld;
  }

  pod(node: Node): Pod {
    const pod = this.#pods.get(node);
    if (!pod) throw new RangeError(`Node ${node.n} has no pod yet`);
    return pod;
  }

  /** Waits until every pod reaches every other in every family, and then expects it once more without a loss. */
  async allReach(): Promise<void> {
    const pairs = this.nodes.flatMap((from) =>
      this.nodes
        .filter((to) => to !== from)
        .flatMap((to) => this.#backend.families.map((family) => ({ from, to, family }))),
    );
    const answers = async (count: number) =>
      await Promise.all(
        pairs.map(async ({ from, to, family }) => {
          const received = await this.pod(from).ping(this.pod(to).address[family], count);
          return `${from.n} → ${to.n} ${family}: ${received}`;
        }),
      );
    const expected = (count: number) => pairs.map(({ from, to, family }) => `${from.n} → ${to.n} ${family}: ${count}`);
    await becomes(() => answers(1), expected(1), 20_000);
    expect(await answers(3)).toEqual(expected(3));
  }

  /** A stream from the pod of each node to the next one's, in every family; its answers make the way back. */
  async streams(): Promise<PingStream[]> {
    const streams = this.nodes.map((from, i) => {
      const to = this.nodes[(i + 1) % this.nodes.length] ?? from;
      return this.#backend.families.map((family) => PingStream.start(this.pod(from), this.pod(to).address[family]));
    });
    return await Promise.all(streams.flat());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pod of this.#pods.values()) pod[Symbol.dispose]();
    await this.underlay[Symbol.asyncDispose]();
  }
}

/** All that flannel has on a node, one thing a line, without the numbers that the kernel chooses. */
export function standing(node: Node, also?: BackendCase["also"]): string[] {
  const text = node.run(`
    ip -d -o link | grep ' flannel[^ ]*: ' || true
    ip -o address | grep ' flannel[^ ]* ' | grep -v 'scope link' || true
    ip route show proto 70; ip -6 route show proto 70; ip nexthop show proto 70
    ip neighbour show nud permanent | grep ' dev flannel' || true
    bridge fdb show | grep ' dev flannel.* dst ' || true`);
  const lines = `${text}\n${also?.(node) ?? ""}`.split("\n").map((line) =>
    line
      .replace(/^\d+: /, "")
      .replace(/\b(nhid|id) \d{7,} /, "")
      .trim(),
  );
  return lines.filter((line) => line !== "").sort();
}

/** Declares the tests. */
export function backendContract(backend: BackendCase): void {
  const { title, families, drifts, also, forget } = backend;
  const [first = "ipv4"] = families;
  const look = (node: Node) => standing(node, also);

  test(
    `${title}: three nodes, every pod reaches every other in ${families.join(" and ")}, with packets as large as FLANNEL_MTU`,
    async () => {
      await using network = await PodNetwork.open(backend);
      await network.allReach();
      const [a, b] = network.nodes;
      if (!a || !b) throw new RangeError("There are three nodes");
      for (const family of families) {
        // Without fragmentation: ICMP and IP headers beside the payload.
        const payload = Number(a.subnetEnv.FLANNEL_MTU) - (family === "ipv4" ? 28 : 48);
        const whole = ["-M", "do", "-s", `${payload}`];
        expect([family, await network.pod(a).ping(network.pod(b).address[family], 3, whole)]).toEqual([family, 3]);
      }
    },
    TEST_MS,
  );

  test(
    `${title}: every drift is repaired, while flanneld looks and while it cannot`,
    async () => {
      await using network = await PodNetwork.open(backend);
      const [node, ...peers] = network.nodes;
      if (!node) throw new RangeError("There are three nodes");
      await network.allReach();
      const before = look(node);
      for (const stopped of [false, true]) {
        // Started anew each time: one that must repair the same thing too often takes it for a fight.
        await network.flanneld(node).stop();
        const { child } = await withPeers(await network.start(node), backend);
        for (const [i, { name, damage, passing }] of drifts.entries()) {
          const peer = peers[i % peers.length];
          if (!peer) throw new RangeError("There are three nodes");
          if (stopped) child.kill("SIGSTOP");
          node.run(damage(node, peer, network.underlay));
          // While it stands still, the damage must be there to see: a drift that does nothing proves nothing.
          if (stopped && !passing) expect({ name, standing: look(node) }).not.toEqual({ name, standing: before });
          child.kill("SIGCONT");
          await becomes(() => ({ name, standing: look(node) }), { name, standing: before }, 20_000);
          for (const family of families) {
            const answers = await network.pod(node).ping(network.pod(peer).address[family]);
            expect({ name, family, answers }).toEqual({ name, family, answers: 3 });
          }
        }
      }
    },
    TEST_MS,
  );

  test.each(["SIGTERM", "SIGKILL"] as const)(
    `${title}: a restart after %s of each node in turn loses at most ${backend.restartLoss ?? 0} packets of a stream, and changes nothing`,
    async (signal) => {
      await using network = await PodNetwork.open(backend);
      await network.allReach();
      const before = network.nodes.map(look);
      const streams = await network.streams();
      for (const node of network.nodes) {
        await network.flanneld(node).stop(signal);
        await Bun.sleep(200); // as a supervisor waits
        await withPeers(await network.start(node), backend);
      }
      const lost = await Promise.all(streams.map((stream) => stream.stop()));
      const allowed = (backend.restartLoss ?? 0) * network.nodes.length;
      expect(lost.filter((count) => count > allowed)).toEqual([]);
      expect(network.nodes.map(look)).toEqual(before);
      await network.allReach();
    },
    TEST_MS,
  );

  test(
    `${title}: a peer joins, moves to another public IP while it runs, ${forget ? "comes back as somebody else, " : ""}and leaves without a trace`,
    async () => {
      await using network = await PodNetwork.open(backend, NODES - 1);
      const { nodes, store } = network.underlay;
      const [a, b, late] = nodes;
      if (!a || !b || !late) throw new RangeError("There are three nodes");
      await network.allReach();
      const before = [a, b].map(look);

      await network.start(late);
      network.addPod(late);
      await network.allReach();

      late.run(move(late));
      const moved = first === "ipv4" ? `192.168.77.${late.n + 30}` : `fd00:77::${(late.n + 30).toString(16)}`;
      await becomes(() => network.flanneld(late).status?.publicIp?.[first], moved);
      await network.allReach();

      if (forget) {
        const subnet = late.subnet(first);
        await network.flanneld(late).stop();
        await store.remove(await keyOf(network, subnet));
        late.run(forget(late));
        await network.start(late);
        expect(late.subnet(first)).toBe(subnet);
        await network.allReach();
      }

      await network.flanneld(late).stop();
      await store.remove(await keyOf(network, late.subnet(first)));
      network.forgetPod(late);
      await becomes(() => [a, b].map(look), before, 20_000);
      await network.allReach();
    },
    TEST_MS,
  );
}

/** Resolves when the kernel has all peers; where it has no routes to see that by, when flanneld knows them, which is a moment before. */
async function withPeers(flanneld: Flanneld, { oneRoute }: BackendCase): Promise<Flanneld> {
  if (!oneRoute) return await flanneld.peers(NODES - 1);
  await until("all peers", () => flanneld.status?.peers === NODES - 1, flanneld);
  return flanneld;
}

/** From 192.168.77.n and fd00:77::n to those thirty higher. */
function move({ n, address }: Node): string {
  return `
    sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1
    ip address add 192.168.77.${n + 30}/24 dev eth0
    ip address add fd00:77::${(n + 30).toString(16)}/64 dev eth0 nodad
    ip address delete ${address.ipv4}/24 dev eth0
    ip address delete ${address.ipv6}/64 dev eth0
    ip route replace default via 192.168.77.254
    ip -6 route replace default via fd00:77::fe`;
}

/** The key of the lease of a subnet, alone or with one of the other family. */
async function keyOf({ underlay }: PodNetwork, subnet: string): Promise<string> {
  const key = (await underlay.store.keys()).find((each) => each.split("&").includes(leaseKey(subnet)));
  if (key === undefined) throw new Error(`no lease of ${subnet}`);
  return key;
}
