// The udp backend: one TUN device, and a packet loop in flanneld that puts each inner IPv4 packet as it is into one UDP datagram. The kernel needs nothing
// beyond TUN for it. Authority: upstream's documentation of the backend, and what its nodes send.
//
//   pod ─▶ route 10.5.0.0/16 dev flannel0 ─▶ packet loop: 10.5.2.0/24 is at 192.0.2.2 ─▶ UDP 192.0.2.2:8285 ─▶ packet loop ─▶ flannel0 ─▶ pod
//
// Its leases have neither BackendType nor BackendData. flannel0 carries the first address of the own subnet as a /32: what the host itself sends to pods
// has it as its source, and is answered there.

import { readBackendOptions } from "../config/backend_options.ts";
import type { Fields } from "../config/json_fields.ts";
import { makePrefix, prefixAddress } from "../ip/prefix.ts";
import { refusal } from "../lease/lease.ts";
import type { Backend } from "./backend.ts";
import { NO_IDENTITY } from "./plain.ts";

export interface UdpConfig {
  readonly port: number;
  readonly strict: boolean;
}

const DEVICE = "flannel0";
/** upstream numbers its device by what is free when it starts. */
const OWN_NAME = /^flannel\d+$/;

/** Bytes around the inner packet: outer IPv4 20 + UDP 8. */
const OVERHEAD = 28;

const OPTIONS = {
  Port: { type: "integer", min: 1, max: 65535, default: 8285 },
  Strict: { type: "boolean", default: false },
} as const satisfies Fields;

export const udp: Backend<UdpConfig, Record<never, never>> = {
  type: "udp",

  leaseType: "",

  families: ["ipv4"],

  optionNames: Object.keys(OPTIONS),

  kinds: ["packetloop", "looppeer"],

  config(raw, where) {
    const options = readBackendOptions(raw, OPTIONS, where);
    return { port: options.Port, strict: options.Strict };
  },

  linkNames: () => [DEVICE],

  ownsLink: (name, type) => type === "tun" && OWN_NAME.test(name),

  ...NO_IDENTITY,

  mtu: (_config, facts) => facts.external.mtu - OVERHEAD,

  *node(config, _identity, own, facts) {
    const subnet = own.subnet.ipv4;
    const local = facts.external.address.ipv4;
    const network = facts.networks.ipv4;
    if (!subnet || !local || !network) return;
    const mtu = facts.external.mtu - OVERHEAD;
    yield { kind: "link", name: DEVICE, mac: undefined, mtu, info: { type: "tun" } };
    yield { kind: "up", dev: DEVICE };
    yield { kind: "address", dev: DEVICE, address: makePrefix(prefixAddress(subnet), 32) };
    yield {
      kind: "packetloop",
      dev: DEVICE,
      local,
      port: config.port,
      network,
      subnet,
      mtu,
      strict: config.strict,
    };
    yield { kind: "route", dst: network, dev: DEVICE, gateway: undefined, onlink: false, form: "plain" };
  },

  peer(config, _identity, _own, peer) {
    // upstream: takes peers of any backend, and sends them packets that they refuse.
    if (peer.backendType !== "" && peer.backendType !== "udp")
      return refusal(`its BackendType is "${peer.backendType}", this node runs udp`);
    const subnet = peer.subnet.ipv4;
    const address = peer.publicIp.ipv4;
    if (!subnet || !address) return refusal("it has no IPv4 subnet with a public IP");
    return [{ kind: "looppeer", dev: DEVICE, subnet, endpoint: { address, port: config.port } }];
  },
};
