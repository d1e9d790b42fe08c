// The wireguard backend: a WireGuard device per address family, or one for both; one route for the whole network; one peer per node. Authority: Linux
// drivers/net/wireguard, the WireGuard paper, and upstream's documentation of the backend.
//
//   pod ─▶ route 10.5.0.0/16 dev flannel-wg ─▶ allowed IP 10.5.2.0/24 is peer K's ─▶ K's session encrypts ─▶ UDP to K's endpoint 192.0.2.2:51820 ─▶ peer
//
// Allowed IPs are routes on the way out and a filter on the way in: what a peer sends from a subnet that is not its own is dropped.

import { ConfigError } from "../config/fault.ts";
import { HIDDEN } from "../config/json_fields.ts";
import { ADDRESS_BITS, type Family, familiesOf, mapFamilies } from "../ip/family.ts";
import { makePrefix, type Prefix, prefixAddress } from "../ip/prefix.ts";
import { type Lease, type Refusal, refusal } from "../lease/lease.ts";
import type { KernelObject } from "../state/object.ts";
import type { Backend, HostFacts } from "./backend.ts";
import { otherBackend } from "./peer.ts";
import { OPTION_NAMES, readWireguardConfig, type WireguardConfig } from "./wireguard_config.ts";
import { preferredFamily } from "./wireguard_family.ts";
import { parseKey, type WireguardKey } from "./wireguard_key.ts";

export interface WireguardIdentity {
  readonly privateKey: WireguardKey;
  readonly publicKey: WireguardKey;
  /** Path of the file with the private key. */
  readonly privateKeyFile: string;
}

/**
 * Bytes around the inner packet, of the larger family: outer IPv6 40, UDP 8, type 4, receiver 4, counter 8, tag 16. Over IPv4 it is 20 less, but upstream
 * takes 80 for both, and all nodes should have one MTU.
 */
const OVERHEAD = 80;

const DEVICE = { ipv4: "flannel-wg", ipv6: "flannel-wg-v6" } as const;

/** The device that carries a family's packets. */
function deviceOf(config: WireguardConfig, family: Family): string {
  return config.mode === "separate" ? DEVICE[family] : DEVICE.ipv4;
}

/** The UDP port of the device that carries a family's packets. */
function portOf(config: WireguardConfig, family: Family): number {
  return config.mode === "separate" && family === "ipv6" ? config.listenPortV6 : config.listenPort;
}

export const wireguard: Backend<WireguardConfig, WireguardIdentity> = {
  type: "wireguard",

  leaseType: "wireguard",

  optionNames: OPTION_NAMES,

  kinds: ["wgdevice", "wgpeer", "wgallowed"],

  config: readWireguardConfig,

  linkNames: () => [DEVICE.ipv4, DEVICE.ipv6],

  ownsLink: (name, type) => type === "wireguard" && (name === DEVICE.ipv4 || name === DEVICE.ipv6),

  secretFile: {
    name: "wgkey",
    variable: "WIREGUARD_KEY_FILE",
    text: ({ privateKey }) => privateKey,
  },

  known(_config, { secret, secretPath }) {
    const privateKeyFile = secretPath ?? "";
    if (secret === undefined) return { privateKeyFile };
    const privateKey = parseKey(secret);
    if (privateKey) return { privateKey, privateKeyFile };
    throw new ConfigError([
      {
        where: privateKeyFile,
        got: HIDDEN,
        want: "a private key of 32 bytes in base64; without the file a new one is made",
      },
    ]);
  },

  identity({ privateKey, privateKeyFile = "" }, random, x25519) {
    const bytes = privateKey === undefined ? clamped(random(32)) : Uint8Array.fromBase64(privateKey);
    return { privateKey: bytes.toBase64(), publicKey: x25519(bytes).toBase64(), privateKeyFile };
  },

  // Of one device for both families, both parts say its port. upstream says ListenPortV6 in the second, where nobody listens.
  leaseData: (config, { publicKey }, families) =>
    mapFamilies(families, (_, family) => ({ PublicKey: publicKey, Port: portOf(config, family) })),

  mtu: (config, facts) => deviceMtu(config, facts),

  *node(config, { publicKey, privateKeyFile }, own, facts) {
    const families = familiesOf(own.subnet);
    const devices = new Map(families.map((family) => [deviceOf(config, family), portOf(config, family)]));
    for (const [dev, listenPort] of devices) {
      yield { kind: "link", name: dev, mac: undefined, mtu: deviceMtu(config, facts), info: { type: "wireguard" } };
      yield { kind: "wgdevice", dev, publicKey, privateKeyFile, listenPort };
      yield { kind: "up", dev };
    }
    for (const family of families) {
      const [subnet, network] = [own.subnet[family], facts.networks[family]];
      if (!subnet || !network) continue;
      const dev = deviceOf(config, family);
      yield { kind: "address", dev, address: makePrefix(prefixAddress(subnet), ADDRESS_BITS[family]) };
      yield { kind: "route", dst: network, dev, gateway: undefined, onlink: false, form: "plain" };
    }
  },

  peer(config, identity, own, peer, facts) {
    const other = otherBackend(peer, "wireguard");
    if (other) return other;
    const objects: KernelObject[] = [];
    for (const [family, subnets] of tunnels(config, own, peer, facts)) {
      const part = peerThrough(config, identity, peer, family, subnets);
      if ("reason" in part) return part;
      objects.push(...part);
    }
    return objects.length > 0 ? objects : refusal("it has no subnet with a public IP in a family of this node");
  },
};

/** The families by which packets go to a peer, and the subnets of each. */
function tunnels(
  config: WireguardConfig,
  own: Lease,
  peer: Lease,
  facts: HostFacts,
): readonly (readonly [Family, readonly Prefix[]])[] {
  const subnets = familiesOf(own.subnet).flatMap((family) => {
    const subnet = peer.subnet[family];
    return subnet ? [[family, subnet] as const] : [];
  });
  if (config.mode === "separate") {
    return subnets.filter(([family]) => peer.publicIp[family]).map(([family, subnet]) => [family, [subnet]] as const);
  }
  const family = config.mode === "auto" ? preferredFamily(facts.external.address, peer.publicIp) : config.mode;
  return subnets.length > 0 ? [[family, subnets.map(([, subnet]) => subnet)]] : [];
}

/** The objects of one peer reached by one family. */
function peerThrough(
  config: WireguardConfig,
  identity: WireguardIdentity,
  peer: Lease,
  family: Family,
  subnets: readonly Prefix[],
): readonly KernelObject[] | Refusal {
  const address = peer.publicIp[family];
  if (!address)
    return refusal(`it has no ${family === "ipv4" ? "IPv4" : "IPv6"} public IP, by which Mode ${config.mode} sends`);
  const data = peer.backendData[family] ?? peer.backendData[family === "ipv4" ? "ipv6" : "ipv4"];
  const read = readData(data);
  if (!read) {
    return refusal(
      `its backend data is ${JSON.stringify(data)?.slice(0, 80)}, want {"PublicKey":"<32 bytes in base64>","Port":<UDP port>}`,
    );
  }
  const { publicKey } = read;
  if (publicKey === identity.publicKey) return refusal(`its PublicKey ${publicKey} is this node's own`);
  const dev = deviceOf(config, family);
  const endpoint = { address, port: read.port || portOf(config, family) };
  const { keepaliveSeconds, presharedKey } = config;
  return [
    { kind: "wgpeer", dev, publicKey, endpoint, keepaliveSeconds, presharedKey },
    ...subnets.map((prefix) => ({ kind: "wgallowed", dev, prefix, publicKey }) as const),
  ];
}

/** The backend data of a lease; port 0: it says none, and has ours. */
function readData(data: unknown): { readonly publicKey: WireguardKey; readonly port: number } | undefined {
  if (typeof data !== "object" || data === null || !("PublicKey" in data) || typeof data.PublicKey !== "string")
    return undefined;
  const publicKey = parseKey(data.PublicKey);
  const port = "Port" in data ? data.Port : 0;
  const isPort = typeof port === "number" && Number.isInteger(port) && port >= 0 && port <= 65535;
  return publicKey && isPort ? { publicKey, port } : undefined;
}

function deviceMtu(config: WireguardConfig, facts: HostFacts): number {
  const underlay = config.mtu === 0 ? facts.external.mtu : Math.min(config.mtu, facts.external.mtu);
  return underlay - OVERHEAD;
}

/** As wg genkey does (RFC 7748, section 5): the function ignores these bits, and equal keys shall look equal. */
function clamped(bytes: Uint8Array): Uint8Array {
  const key = Uint8Array.from(bytes);
  key[0] = (key[0] ?? 0) & 0xf8;
  key[31] = ((key[31] ?? 0) & 0x7f) | 0x40;
  return key;
}
