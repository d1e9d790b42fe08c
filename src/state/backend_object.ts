// What single backends make beside links and routes, as plain values like those of object.ts. Each kind has a driver of its own, which is loaded only where it
// is used. Secrets that must stand in a value are compared, but never printed.

import type { Address } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";

/** Key and port of a WireGuard device. The private key stays in its file: objects are printed and compared. */
export interface WireguardDevice {
  readonly kind: "wgdevice";
  readonly dev: string;
  /** Base64, of the private key in `privateKeyFile`. */
  readonly publicKey: string;
  readonly privateKeyFile: string;
  /** UDP port. */
  readonly listenPort: number;
}

/** A peer of a WireGuard device. */
export interface WireguardPeer {
  readonly kind: "wgpeer";
  readonly dev: string;
  /** Base64. */
  readonly publicKey: string;
  readonly endpoint: { readonly address: Address; readonly port: number };
  /** Seconds; 0: none. */
  readonly keepaliveSeconds: number;
  /** Base64; never printed. */
  readonly presharedKey: string | undefined;
}

/** What may come from, and goes to, a peer of a WireGuard device: a device has each prefix for one peer at most. */
export interface WireguardAllowedIp {
  readonly kind: "wgallowed";
  readonly dev: string;
  readonly prefix: Prefix;
  /** The peer's, base64. */
  readonly publicKey: string;
}

/** That a packet loop serves a TUN device: packets of the device go to peers as UDP datagrams, and the other way round. */
export interface PacketLoop {
  readonly kind: "packetloop";
  readonly dev: string;
  /** Where it listens and sends from. */
  readonly local: Address;
  readonly port: number;
  /** Inner destinations outside are dropped. */
  readonly network: Prefix;
  /** Inner packets to the own subnet go to the device, all others to a peer. */
  readonly subnet: Prefix;
  /** Bytes of the largest inner packet. */
  readonly mtu: number;
  /** Drops inner sources outside the sender's subnet, and senders that are no peer. */
  readonly strict: boolean;
}

/** Where a packet loop sends packets to one subnet. */
export interface LoopPeer {
  readonly kind: "looppeer";
  readonly dev: string;
  readonly subnet: Prefix;
  readonly endpoint: { readonly address: Address; readonly port: number };
}

/** An IPsec policy of the kernel, xfrm(8): packets from `src` to `dst` go through an ESP tunnel. */
export interface XfrmPolicy {
  readonly kind: "xfrmpolicy";
  readonly direction: "out" | "in" | "fwd";
  readonly src: Prefix;
  readonly dst: Prefix;
  readonly tunnel: { readonly src: Address; readonly dst: Address };
  readonly reqid: number;
}

/** The IKE daemon of this node, charon, with what holds for all of its connections. */
export interface IkeDaemon {
  readonly kind: "ikedaemon";
  /** In strongSwan's words: aes128gcm16-sha256-prfsha256-ecp256. */
  readonly espProposal: string;
  readonly udpEncap: boolean;
  /** Never printed. */
  readonly presharedKey: string;
}

/** A connection that the IKE daemon holds with one peer: what it is asked to load and start. */
export interface IkeConnection {
  readonly kind: "ike";
  /** With all that makes a connection another one. */
  readonly name: string;
  /** Name of the tunnel in it. */
  readonly child: string;
  /** Where packets leave from, and where they are sent. */
  readonly local: Address;
  readonly remote: Address;
  /** What each end says it is; behind a NAT this is another address than `local`. */
  readonly localId: Address;
  readonly remoteId: Address;
  readonly localSubnet: Prefix;
  readonly remoteSubnet: Prefix;
  readonly reqid: number;
}

/** What a command of the configuration has done for a peer or for this node: run once when wanted, and its opposite when no longer. */
export interface CommandEffect {
  readonly kind: "command";
  /** Tells effects apart: `10.5.2.0/24` for a peer's, `node` for this node's, which goes before all others. */
  readonly name: string;
  readonly add: ConfiguredCommand;
  readonly remove: ConfiguredCommand;
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** Seconds after which a command is killed. */
  readonly timeoutSeconds: number;
  /** Which run of the identity's command it builds on: when that has run anew, everything is done anew. "": begun, and not known to be done. */
  readonly run: string;
}

/** Shell text as the configuration has it; nothing of a lease ever becomes part of it. */
export interface ConfiguredCommand {
  /** The option that it stands in, for messages. */
  readonly option: string;
  /** "" for none. */
  readonly text: string;
}

/** The name of the node's own effect. */
export const NODE_EFFECT = "node";

/** One of an effect's commands, as messages name it: `PostStartupCommand`, `SubnetAddCommand for 10.5.2.0/24`. */
export function commandTitle({ name }: CommandEffect, { option }: ConfiguredCommand): string {
  return name === NODE_EFFECT ? option : `${option} for ${name}`;
}

/** Whether `actual` needs nothing run to become `desired`: what undoes it, or how long that may take, is only noted. */
export function hasSameEffect(desired: CommandEffect, actual: CommandEffect): boolean {
  const { add, environment, stdin, run } = actual;
  return (
    desired.run === run &&
    desired.add.text === add.text &&
    desired.stdin === stdin &&
    JSON.stringify(desired.environment) === JSON.stringify(environment)
  );
}

/** What only some backends make, each by a driver of its own. */
export type BackendObject =
  | WireguardDevice
  | WireguardPeer
  | WireguardAllowedIp
  | PacketLoop
  | LoopPeer
  | XfrmPolicy
  | IkeDaemon
  | IkeConnection
  | CommandEffect;
