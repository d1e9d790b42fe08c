// What the tests of the udp backend have in common.

import { close, SOCK_DGRAM, sendto, socket } from "../../src/sys/libc.ts";
import { inNamespace } from "../../src/sys/netns.ts";
import type { BackendDrift } from "./backend_contract.ts";
import type { Flanneld } from "./flanneld.ts";
import type { Node } from "./nodes.ts";
import { until } from "./program.ts";

export const UDP = { Network: "10.5.0.0/16", Backend: { Type: "udp" } };
export const PORT = 8285;
const AF_INET = 2;

/** The packet loop's socket, without its queues. */
export function udpSockets(node: Node): string {
  return node.run(`ss -Hlun 'sport = :${PORT}' | awk '{ print "udp", $4 }'`);
}

export const UDP_DRIFTS: readonly BackendDrift[] = [
  { name: "flannel0 deleted", damage: () => "ip link delete flannel0" },
  { name: "ip link set flannel0 down", damage: () => "ip link set flannel0 down" },
  { name: "MTU changed", damage: () => "ip link set flannel0 mtu 1280" },
  { name: "address removed", damage: (node) => `ip address delete ${node.overlay()}/32 dev flannel0` },
  { name: "another address added", damage: () => "ip address add 10.5.250.1/24 dev flannel0" },
  { name: "route deleted", damage: () => "ip route delete 10.5.0.0/16" },
  { name: "route to a gateway", damage: () => "ip route replace 10.5.0.0/16 via 192.168.77.250" },
  // It stays in the list, and only whoever reads from it is told.
  { name: "the packet loop's socket aborted", damage: () => `ss -K -lun 'sport = :${PORT}'; sleep 0.2`, passing: true },
];

/** What a node's packet loop has counted: name → number; drops are only there when there were some. */
export async function counters(flanneld: Flanneld): Promise<Readonly<Record<string, number>>> {
  const lines = () => flanneld.lines(/packetloop flannel0: sent packets/);
  const before = lines().length;
  flanneld.child.kill("SIGQUIT");
  const line = await until("the packet loop's counters", () => lines()[before], flanneld);
  return parseCounters(line);
}

/** Of a line that begins anyhow. */
export function parseCounters(line: string): Readonly<Record<string, number>> {
  const text = line.replace(/^.*packetloop flannel0: /, "").replace("dropped: ", "");
  return Object.fromEntries(
    [...text.matchAll(/([^,;]+?) (\d+)(?:[,;]|$)/g)].map(([, name, n]) => [name?.trim(), Number(n)]),
  );
}

/** Sends datagrams from a node as anybody can who reaches the port. */
export class DatagramSource implements Disposable {
  readonly #fd: number;

  constructor(node: Pick<Node, "namespace">) {
    this.#fd = inNamespace(node.namespace.path, () => socket(AF_INET, SOCK_DGRAM, 0, "udp"));
  }

  send(address: string, bytes: Uint8Array): void {
    const to = Uint8Array.from([AF_INET, 0, PORT >> 8, PORT & 0xff, ...dotted(address), 0, 0, 0, 0, 0, 0, 0, 0]);
    sendto(this.#fd, bytes, 0, to, "udp");
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }
}

export function dotted(address: string): number[] {
  return address.split(".").map(Number);
}
