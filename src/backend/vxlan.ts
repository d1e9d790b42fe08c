// The vxlan backend: one vxlan device per address family, one route, neighbour and FDB entry per peer. Authority: Linux drivers/net/vxlan, RFC 7348, and
// upstream's documentation of the backend.
//
//   pod ─▶ route 10.5.2.0/24 via 10.5.2.0 dev flannel.1 ─▶ neighbour 10.5.2.0 is MAC M ─▶ FDB: M lives at 192.0.2.2 ─▶ UDP 192.0.2.2:8472 ─▶ peer
//
// The gateway is the first address of the peer's subnet (10.5.2.0), which the peer's own flannel.1 carries as a /32.

import { readBackendOptions } from "../config/backend_options.ts";
import type { Fields } from "../config/json_fields.ts";
import { ADDRESS_BITS, type Family, familiesOf, mapFamilies, type PerFamily } from "../ip/family.ts";
import { isUnicastMac, type Mac, macFromRandom, parseMac } from "../ip/mac.ts";
import { makePrefix, prefixAddress } from "../ip/prefix.ts";
import { type Lease, type Refusal, refusal } from "../lease/lease.ts";
import type { KernelObject } from "../state/object.ts";
import type { Backend, HostFacts } from "./backend.ts";
import { isDirectlyConnected, otherBackend, routeVia } from "./peer.ts";

export interface VxlanConfig {
  readonly vni: number;
  readonly port: number;
  /** Bytes of the underlay that may be used; 0 = all of the external interface's. */
  readonly mtu: number;
  readonly gbp: boolean;
  readonly learning: boolean;
  readonly directRouting: boolean;
}

export interface VxlanIdentity {
  readonly mac: PerFamily<Mac>;
}

/** Bytes around the inner packet: outer IP (20 or 40) + UDP 8 + VXLAN 8 + inner Ethernet 14. upstream: 50 in both families. */
const OVERHEAD: Record<Family, number> = { ipv4: 50, ipv6: 70 };

/** The kernel's default, older than the port IANA assigned (4789). */
const DEFAULT_PORT = 8472;

const OPTIONS = {
  VNI: { type: "integer", min: 1, max: 0xffffff, default: 1 },
  Port: { type: "integer", min: 0, max: 65535, default: 0 },
  MTU: { type: "integer", min: 0, max: 65535, default: 0 },
  GBP: { type: "boolean", default: false },
  Learning: { type: "boolean", default: false },
  DirectRouting: { type: "boolean", default: false },
} as const satisfies Fields;

function deviceName(vni: number, family: Family): string {
  return family === "ipv4" ? `flannel.${vni}` : `flannel-v6.${vni}`;
}

export const vxlan: Backend<VxlanConfig, VxlanIdentity> = {
  type: "vxlan",

  leaseType: "vxlan",

  optionNames: Object.keys(OPTIONS),

  config(raw, where) {
    const options = readBackendOptions(raw, OPTIONS, where);
    return {
      vni: options.VNI,
      port: options.Port || DEFAULT_PORT,
      mtu: options.MTU,
      gbp: options.GBP,
      learning: options.Learning,
      directRouting: options.DirectRouting,
    };
  },

  linkNames: (config) => [deviceName(config.vni, "ipv4"), deviceName(config.vni, "ipv6")],

  ownsLink: (name, type) => type === "vxlan" && /^flannel(-v6)?\.\d+$/.test(name),

  known(config, { stored, links }) {
    const fromLinks = (family: Family) => links.find((link) => link.name === deviceName(config.vni, family))?.mac;
    const ipv4 = storedMac(stored.ipv4) ?? fromLinks("ipv4");
    const ipv6 = storedMac(stored.ipv6) ?? fromLinks("ipv6");
    return { mac: { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) } };
  },

  identity: (known, random) => ({
    mac: {
      ipv4: known.mac?.ipv4 ?? macFromRandom(random(6)),
      ipv6: known.mac?.ipv6 ?? macFromRandom(random(6)),
    },
  }),

  leaseData: (config, identity, families) =>
    mapFamilies(families, (_, family) => ({ VNI: config.vni, VtepMAC: identity.mac[family] })),

  mtu: (config, facts, families) => Math.min(...familiesOf(families).map((family) => deviceMtu(config, facts, family))),

  *node(config, identity, own, facts) {
    for (const family of familiesOf(own.subnet)) {
      const subnet = own.subnet[family];
      const mac = identity.mac[family];
      const local = facts.external.address[family];
      if (!subnet || !mac || !local) continue;
      const dev = deviceName(config.vni, family);
      yield {
        kind: "link",
        name: dev,
        mac,
        mtu: deviceMtu(config, facts, family),
        info: {
          type: "vxlan",
          vni: config.vni,
          parent: facts.external.name,
          local,
          port: config.port,
          learning: config.learning,
          gbp: config.gbp,
          group: undefined,
          l2miss: false,
        },
      };
      // A router on the overlay must not give this device addresses or routes.
      if (family === "ipv6") yield { kind: "sysctl", dev, path: `net/ipv6/conf/${dev}/accept_ra`, value: "0" };
      yield { kind: "up", dev };
      yield { kind: "address", dev, address: makePrefix(prefixAddress(subnet), ADDRESS_BITS[family]) };
    }
  },

  peer(config, identity, own, peer, facts) {
    const other = otherBackend(peer, "vxlan");
    if (other) return other;
    const objects: KernelObject[] = [];
    for (const family of familiesOf(own.subnet)) {
      const part = peerInFamily(config, identity, peer, facts, family);
      if ("reason" in part) return part;
      objects.push(...part);
    }
    return objects.length > 0 ? objects : refusal("it has no subnet with a public IP in a family of this node");
  },
};

/** A peer's objects in one family; none when the peer does not take part in it. */
function peerInFamily(
  config: VxlanConfig,
  identity: VxlanIdentity,
  peer: Lease,
  facts: HostFacts,
  family: Family,
): readonly KernelObject[] | Refusal {
  const subnet = peer.subnet[family];
  const publicIp = peer.publicIp[family];
  if (!subnet || !publicIp) return [];
  if (config.directRouting && isDirectlyConnected(publicIp, facts)) {
    return routeVia(subnet, facts.external.name, publicIp, false, facts);
  }
  const data = peer.backendData[family];
  const mac = storedMac(data);
  if (!mac) return refusal(`its backend data is ${JSON.stringify(data)?.slice(0, 80)}, want {"VtepMAC":"<MAC>"}`);
  if (!isUnicastMac(mac)) return refusal(`its VtepMAC ${mac} is no unicast MAC`);
  if (mac === identity.mac[family]) return refusal(`its VtepMAC ${mac} is this node's own`);
  const dev = deviceName(config.vni, family);
  const gateway = prefixAddress(subnet);
  return [
    { kind: "neighbour", dev, address: gateway, mac },
    { kind: "fdb", dev, mac, dst: publicIp },
    ...routeVia(subnet, dev, gateway, true, facts),
  ];
}

/** Bytes of the largest inner packet. The kernel takes no more than the parent's MTU less the overhead. */
function deviceMtu(config: VxlanConfig, facts: HostFacts, family: Family): number {
  const underlay = config.mtu === 0 ? facts.external.mtu : Math.min(config.mtu, facts.external.mtu);
  return underlay - OVERHEAD[family];
}

function storedMac(data: unknown): Mac | undefined {
  const mac = typeof data === "object" && data !== null && "VtepMAC" in data ? data.VtepMAC : undefined;
  return typeof mac === "string" ? parseMac(mac) : undefined;
}
