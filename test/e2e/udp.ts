// What the tests of the udp backend have in common.

import type { BackendDrift } from "./backend_contract.ts";
import type { Node } from "./nodes.ts";

export const UDP = { Network: "10.5.0.0/16", Backend: { Type: "udp" } };
export const PORT = 8285;

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
