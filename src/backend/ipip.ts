// The ipip backend: one IP-in-IP device, one route per peer, IPv4 only. Authority: RFC 2003, Linux net/ipv4/ipip.c, and upstream's documentation of the
// backend.
//
//   pod ─▶ route 10.5.2.0/24 via 192.0.2.2 dev flannel.ipip onlink ─▶ IP 192.0.2.1 → 192.0.2.2, protocol 4 ─▶ peer
//
// The device has no remote of its own: the gateway of the route, the peer's public IP, becomes the outer destination. The kernel makes a device tunl0 beside
// it, which takes what fits no other; it is nobody's here.

import { readBackendOptions } from "../config/backend_options.ts";
import type { Fields } from "../config/json_fields.ts";
import { ADDRESS_BITS } from "../ip/family.ts";
import { makePrefix, prefixAddress } from "../ip/prefix.ts";
import { refusal } from "../lease/lease.ts";
import type { Backend } from "./backend.ts";
import { isDirectlyConnected, otherBackend, routeVia } from "./peer.ts";
import { NO_IDENTITY } from "./plain.ts";

export interface IpipConfig {
  readonly directRouting: boolean;
}

const DEVICE = "flannel.ipip";

/** Bytes of the outer IPv4 header. */
const OVERHEAD = 20;

const OPTIONS = {
  DirectRouting: { type: "boolean", default: false },
} as const satisfies Fields;

/** Leases say nothing of the node but its public IP. */
export const ipip: Backend<IpipConfig, Readonly<Record<string, never>>> = {
  type: "ipip",

  leaseType: "ipip",

  families: ["ipv4"],

  optionNames: Object.keys(OPTIONS),

  config: (raw, where) => ({ directRouting: readBackendOptions(raw, OPTIONS, where).DirectRouting }),

  linkNames: () => [DEVICE],

  ownsLink: (name, type) => type === "ipip" && name === DEVICE,

  ...NO_IDENTITY,

  mtu: (_, facts) => facts.external.mtu - OVERHEAD,

  *node(config, _, own, facts) {
    const subnet = own.subnet.ipv4;
    const local = facts.external.address.ipv4;
    if (!subnet || !local) return;
    const mtu = ipip.mtu(config, facts, own.subnet);
    const info = { type: "ipip", parent: undefined, local, remote: undefined } as const;
    yield { kind: "link", name: DEVICE, mac: undefined, mtu, info };
    yield { kind: "up", dev: DEVICE };
    yield { kind: "address", dev: DEVICE, address: makePrefix(prefixAddress(subnet), ADDRESS_BITS.ipv4) };
  },

  peer(config, _, __, peer, facts) {
    const other = otherBackend(peer, "ipip");
    if (other) return other;
    const subnet = peer.subnet.ipv4;
    const publicIp = peer.publicIp.ipv4;
    if (!subnet || !publicIp) return refusal("it has no IPv4 subnet with a public IP");
    const direct = config.directRouting && isDirectlyConnected(publicIp, facts);
    return direct
      ? routeVia(subnet, facts.external.name, publicIp, false, facts)
      : routeVia(subnet, DEVICE, publicIp, true, facts);
  },
};
