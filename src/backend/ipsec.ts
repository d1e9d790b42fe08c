// The ipsec backend: ESP tunnels of the kernel, xfrm(8), whose keys strongSwan's charon agrees on with each peer by IKEv2 and one pre-shared key. Authority: Linux
// net/xfrm, RFC 4303 (ESP), RFC 7296 (IKEv2), and upstream's documentation of the backend.
//
//   pod ─▶ route 10.5.2.0/24 dev eth0 ─▶ policy out 10.5.1.0/24 → 10.5.2.0/24: ESP tunnel 192.0.2.1 → 192.0.2.2 ─▶ association that charon made ─▶ peer
//   peer ─▶ ESP ─▶ association ─▶ policy fwd 10.5.2.0/24 → 10.5.1.0/24 lets through what came out of the tunnel, and nothing else ─▶ pod
//
// IPv4 alone, as upstream.

import { readBackendOptions } from "../config/backend_options.ts";
import type { Fields } from "../config/json_fields.ts";
import type { Address } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import { refusal } from "../lease/lease.ts";
import type { XfrmPolicy } from "../state/backend_object.ts";
import type { Backend } from "./backend.ts";
import { otherBackend } from "./peer.ts";
import { NO_IDENTITY, NO_LINKS } from "./plain.ts";

export interface IpsecConfig {
  readonly presharedKey: string;
  readonly udpEncap: boolean;
  readonly espProposal: string;
}

/** Links policies to the associations that serve them; the same for all peers, as upstream. */
export const REQID = 11;

/** Bytes, upstream's: outer IP 20, ESP header 8, IV 16, padding and trailer up to 17, integrity check 16. */
const OVERHEAD = 77;
const UDP_OVERHEAD = 8;

/** Bytes of the pre-shared key at least. */
const MIN_KEY_BYTES = 96;

const OPTIONS = {
  PSK: { type: "secret" },
  UDPEncap: { type: "boolean", default: false },
  ESPProposal: { type: "text", default: "aes128gcm16-sha256-prfsha256-ecp256" },
} as const satisfies Fields;

const KEY_WANTED = `text of ${MIN_KEY_BYTES} bytes or more, for example of: dd if=/dev/urandom count=48 bs=1 status=none | xxd -p -c 48`;

export const ipsec: Backend<IpsecConfig, Record<string, never>> = {
  type: "ipsec",

  leaseType: "ipsec",

  families: ["ipv4"],

  optionNames: Object.keys(OPTIONS),

  kinds: ["xfrmpolicy", "ikedaemon", "ike"],

  config(raw, where) {
    const options = readBackendOptions(raw, OPTIONS, where, ({ PSK, ESPProposal }, wrong) => {
      const length = PSK === undefined ? undefined : new TextEncoder().encode(PSK).length;
      // What is wrong with the key is said without it.
      if (length === undefined || length < MIN_KEY_BYTES)
        wrong("PSK", length === undefined ? undefined : `text of ${length} bytes`, KEY_WANTED);
      if (!/^[a-z0-9]+(-[a-z0-9_]+)+$/.test(ESPProposal)) {
        const want = `algorithms joined by "-" in strongSwan's words: ${OPTIONS.ESPProposal.default}`;
        wrong("ESPProposal", JSON.stringify(ESPProposal), want);
      }
    });
    return { presharedKey: options.PSK ?? "", udpEncap: options.UDPEncap, espProposal: options.ESPProposal };
  },

  ...NO_LINKS,

  ...NO_IDENTITY,

  mtu: (config, facts) => facts.external.mtu - OVERHEAD - (config.udpEncap ? UDP_OVERHEAD : 0),

  *node(config) {
    const { espProposal, udpEncap, presharedKey } = config;
    yield { kind: "ikedaemon", espProposal, udpEncap, presharedKey };
  },

  peer(_config, _identity, own, peer, facts) {
    const other = otherBackend(peer, "ipsec");
    if (other) return other;
    const localSubnet = own.subnet.ipv4;
    const remoteSubnet = peer.subnet.ipv4;
    const local = facts.external.address.ipv4;
    const localId = own.publicIp.ipv4;
    const remote = peer.publicIp.ipv4;
    if (!localSubnet || !local || !localId) return refusal("this node has no IPv4 subnet");
    if (!remoteSubnet || !remote) return refusal("it has no IPv4 subnet with a public IP");
    return [
      ...policies(local, remote, localSubnet, remoteSubnet),
      {
        kind: "ike",
        // As upstream names them.
        name: `${localId}-${localSubnet}-${remoteSubnet}-${remote}`,
        child: `${localSubnet}-${remoteSubnet}`,
        local,
        remote,
        localId,
        remoteId: remote,
        localSubnet,
        remoteSubnet,
        reqid: REQID,
      },
      // Policies apply to packets that have a route. upstream: the default route, which a packet follows unencrypted when its policy is gone.
      {
        kind: "route",
        dst: remoteSubnet,
        dev: facts.external.name,
        gateway: undefined,
        onlink: false,
        form: "plain",
      },
    ];
  },
};

/** Out to the peer; in, for this node itself, and forwarded, for its pods. */
function policies(local: Address, remote: Address, localSubnet: Prefix, remoteSubnet: Prefix): XfrmPolicy[] {
  const back = { src: remoteSubnet, dst: localSubnet, tunnel: { src: remote, dst: local }, reqid: REQID };
  return [
    {
      kind: "xfrmpolicy",
      direction: "out",
      src: localSubnet,
      dst: remoteSubnet,
      tunnel: { src: local, dst: remote },
      reqid: REQID,
    },
    { kind: "xfrmpolicy", direction: "in", ...back },
    { kind: "xfrmpolicy", direction: "fwd", ...back },
  ];
}
