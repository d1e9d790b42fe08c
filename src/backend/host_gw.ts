// The host-gw backend: no encapsulation and no device of its own; each node is the gateway to its subnet, and the kernel routes. Authority: ip-route(8) and
// upstream's documentation of the backend.
//
//   pod ─▶ route 10.5.2.0/24 via 192.0.2.2 dev eth0 ─▶ neighbour of 192.0.2.2, asked for on the wire ─▶ Ethernet ─▶ peer ─▶ its route 10.5.2.0/24 dev cni0
//
// A gateway must be on link: a router between two nodes knows nothing of pods and would drop their packets. So a peer behind one is refused, by name.

import { familiesOf } from "../ip/family.ts";
import { refusal } from "../lease/lease.ts";
import type { KernelObject } from "../state/object.ts";
import type { Backend } from "./backend.ts";
import { isDirectlyConnected, otherBackend, routeVia } from "./peer.ts";
import { NO_IDENTITY, NO_LINKS, NO_OPTIONS } from "./plain.ts";

/** It has no options. */
export type HostGwConfig = Readonly<Record<string, never>>;
/** Peers know a node by its public IP alone. */
export type HostGwIdentity = Readonly<Record<string, never>>;

export const hostGw: Backend<HostGwConfig, HostGwIdentity> = {
  type: "host-gw",
  leaseType: "host-gw",
  ...NO_OPTIONS,
  peersSendToPublicIp: true,
  ...NO_LINKS,
  ...NO_IDENTITY,
  mtu: (_, facts) => facts.external.mtu,
  node: () => [],

  peer(_config, _identity, own, peer, facts) {
    const other = otherBackend(peer, "host-gw");
    if (other) return other;
    const { name, address } = facts.external;
    const objects: KernelObject[] = [];
    for (const family of familiesOf(own.subnet)) {
      const subnet = peer.subnet[family];
      const publicIp = peer.publicIp[family];
      if (!subnet || !publicIp) continue;
      if (!isDirectlyConnected(publicIp, facts)) {
        return refusal(
          `its public IP ${publicIp} is not on link at ${name} (${address[family]}), and host-gw routes without encapsulation: ` +
            `use the vxlan backend for a network with routers between nodes, perhaps with DirectRouting`,
        );
      }
      objects.push(...routeVia(subnet, name, publicIp, false, facts));
    }
    return objects.length > 0 ? objects : refusal("it has no subnet with a public IP in a family of this node");
  },
};
