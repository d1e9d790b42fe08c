// WireGuard devices (linux/wireguard.h), a family of generic netlink; `wg show` and `wg set`. Of a device with many peers the dump is several messages: the
// first tells of the device, the others go on with its peers, and a peer of many prefixes may be begun in one message and go on in the next.
//
//   WGDEVICE_A_PEERS ─▶ peer 0, 1 … ─▶ WGPEER_A_ALLOWEDIPS ─▶ prefix 0, 1 …       nested; the members of a list all have type 0
//
// WGPEER_A_ENDPOINT is a struct sockaddr:
//   sockaddr_in, 16 bytes:   0 u16 family   2 u16 port (network order)   4 address   8 zero
//   sockaddr_in6, 28 bytes:  0 u16 family   2 u16 port (network order)   4 u32 flowinfo   8 address   24 u32 scope
//
// WGPEER_A_LAST_HANDSHAKE_TIME is a struct __kernel_timespec, 16 bytes:  0 s64 seconds   8 s64 nanoseconds, of the wall clock

import { type Address, familyOf } from "../ip/address.ts";
import { makePrefix, type Prefix, prefixAddress, prefixFamily, prefixLength } from "../ip/prefix.ts";
import { readAddress, writeAddress } from "../ip/wire.ts";
import type { AttributeReader } from "./attribute.ts";
import { familyNumber } from "./family.ts";
import { beginGeneric, GENL_HDRLEN } from "./genetlink.ts";
import type { MessageReader } from "./message.ts";
import type { MessageWriter } from "./writer.ts";

export const WG_GENL_NAME = "wireguard";
export const WG_KEY_LEN = 32;

const WG_GENL_VERSION = 1;
const WG_CMD_GET_DEVICE = 0;
const WG_CMD_SET_DEVICE = 1;

const WGDEVICE_A_IFNAME = 2;
const WGDEVICE_A_PRIVATE_KEY = 3;
const WGDEVICE_A_PUBLIC_KEY = 4;
const WGDEVICE_A_LISTEN_PORT = 6;
const WGDEVICE_A_PEERS = 8;

const WGPEER_F_REMOVE_ME = 1;
const WGPEER_F_REPLACE_ALLOWEDIPS = 2;
const WGPEER_F_UPDATE_ONLY = 4;

const WGPEER_A_PUBLIC_KEY = 1;
const WGPEER_A_PRESHARED_KEY = 2;
const WGPEER_A_FLAGS = 3;
const WGPEER_A_ENDPOINT = 4;
const WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL = 5;
const WGPEER_A_LAST_HANDSHAKE_TIME = 6;
const WGPEER_A_ALLOWEDIPS = 9;

const WGALLOWEDIP_A_FAMILY = 1;
const WGALLOWEDIP_A_IPADDR = 2;
const WGALLOWEDIP_A_CIDR_MASK = 3;

/** Nested attributes are refused without it. */
const NLA_F_NESTED = 0x8000;
const SOCKADDR_IN_LENGTH = 16;
const SOCKADDR_IN6_LENGTH = 28;

/** A key as its 32 bytes in base64, as wg(8) prints it. */
export type WireguardKey = string;

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
}

export interface WireguardPeerMessage {
  readonly publicKey: WireguardKey;
  /** undefined: none, which the kernel writes as 32 zeros. */
  readonly presharedKey: WireguardKey | undefined;
  /** Where packets go: as it was set, or where the last authenticated packet came from. */
  readonly endpoint: Endpoint | undefined;
  /** Seconds; 0: none. */
  readonly keepaliveSeconds: number;
  /** Milliseconds since the epoch by this host's clock; 0: never. */
  readonly lastHandshakeMs: number;
  readonly allowedIps: readonly Prefix[];
}

export interface WireguardDeviceMessage {
  /** undefined in messages that only go on with peers, and for a device without a key. */
  readonly publicKey: WireguardKey | undefined;
  readonly privateKey: WireguardKey | undefined;
  readonly listenPort: number | undefined;
  readonly peers: readonly WireguardPeerMessage[];
}

/** `wg show DEV dump`; `family` is the number that decodeFamily (genetlink.ts) tells. */
export function dumpDevice(writer: MessageWriter, family: number, dev: string): void {
  beginGeneric(writer, family, { cmd: WG_CMD_GET_DEVICE, version: WG_GENL_VERSION, dump: true });
  writer.text(WGDEVICE_A_IFNAME, dev);
  writer.end();
}

/** `wg set DEV listen-port PORT private-key …`; undefined takes the key away. */
export function setDevice(
  writer: MessageWriter,
  family: number,
  dev: string,
  device: { readonly privateKey: WireguardKey | undefined; readonly listenPort: number },
): void {
  beginSet(writer, family, dev);
  writer.raw(WGDEVICE_A_PRIVATE_KEY, keyBytes(device.privateKey));
  writer.u16(WGDEVICE_A_LISTEN_PORT, device.listenPort);
  writer.end();
}

/** What of a peer is set; what is left out stays as it is. */
export interface PeerChange {
  readonly publicKey: WireguardKey;
  /** undefined in a given field: no preshared key. */
  readonly presharedKey?: WireguardKey | undefined;
  readonly endpoint?: Endpoint;
  readonly keepaliveSeconds?: number;
  /** Added, whoever has them; or, with `replace`, all that it is to have. */
  readonly allowedIps?: readonly Prefix[];
  readonly replace?: boolean;
  /** Nothing is done when there is no such peer. */
  readonly onlyExisting?: boolean;
}

/** `wg set DEV peer KEY …` */
export function setPeer(writer: MessageWriter, family: number, dev: string, change: PeerChange): void {
  const { publicKey, endpoint, keepaliveSeconds, allowedIps, replace, onlyExisting } = change;
  const flags = (replace ? WGPEER_F_REPLACE_ALLOWEDIPS : 0) | (onlyExisting ? WGPEER_F_UPDATE_ONLY : 0);
  writePeer(writer, family, dev, publicKey, () => {
    if ("presharedKey" in change) writer.raw(WGPEER_A_PRESHARED_KEY, keyBytes(change.presharedKey));
    if (endpoint) writer.raw(WGPEER_A_ENDPOINT, sockaddr(endpoint));
    if (keepaliveSeconds !== undefined) writer.u16(WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, keepaliveSeconds);
    if (flags !== 0) writer.u32(WGPEER_A_FLAGS, flags);
    if (allowedIps) writeAllowedIps(writer, allowedIps);
  });
}

/** `wg set DEV peer KEY remove` */
export function removePeer(writer: MessageWriter, family: number, dev: string, publicKey: WireguardKey): void {
  writePeer(writer, family, dev, publicKey, () => writer.u32(WGPEER_A_FLAGS, WGPEER_F_REMOVE_ME));
}

function beginSet(writer: MessageWriter, family: number, dev: string): void {
  beginGeneric(writer, family, { cmd: WG_CMD_SET_DEVICE, version: WG_GENL_VERSION });
  writer.text(WGDEVICE_A_IFNAME, dev);
}

function writePeer(
  writer: MessageWriter,
  family: number,
  dev: string,
  publicKey: WireguardKey,
  rest: () => void,
): void {
  beginSet(writer, family, dev);
  const peers = writer.beginNested(WGDEVICE_A_PEERS | NLA_F_NESTED);
  const peer = writer.beginNested(NLA_F_NESTED);
  writer.raw(WGPEER_A_PUBLIC_KEY, keyBytes(publicKey));
  rest();
  writer.endNested(peer);
  writer.endNested(peers);
  writer.end();
}

function writeAllowedIps(writer: MessageWriter, prefixes: readonly Prefix[]): void {
  const list = writer.beginNested(WGPEER_A_ALLOWEDIPS | NLA_F_NESTED);
  for (const prefix of prefixes) {
    const member = writer.beginNested(NLA_F_NESTED);
    writer.u16(WGALLOWEDIP_A_FAMILY, familyNumber(prefixFamily(prefix)));
    writer.address(WGALLOWEDIP_A_IPADDR, prefixAddress(prefix));
    writer.u8(WGALLOWEDIP_A_CIDR_MASK, prefixLength(prefix));
    writer.endNested(member);
  }
  writer.endNested(list);
}

/** One message of a dump. */
export function decodeDevice(message: MessageReader, family: number): WireguardDeviceMessage | undefined {
  if (message.type !== family) return undefined;
  const attributes = message.attributes(GENL_HDRLEN);
  let publicKey: WireguardKey | undefined;
  let privateKey: WireguardKey | undefined;
  let listenPort: number | undefined;
  const peers: WireguardPeerMessage[] = [];
  while (attributes.next()) {
    switch (attributes.type) {
      case WGDEVICE_A_PUBLIC_KEY:
        publicKey = keyOf(attributes);
        break;
      case WGDEVICE_A_PRIVATE_KEY:
        privateKey = keyOf(attributes);
        break;
      case WGDEVICE_A_LISTEN_PORT:
        listenPort = attributes.u16();
        break;
      case WGDEVICE_A_PEERS: {
        const list = attributes.nested();
        while (list.next()) {
          const peer = decodePeer(list.nested());
          if (peer) peers.push(peer);
        }
        break;
      }
    }
  }
  return { publicKey, privateKey, listenPort, peers };
}

/** The messages of one dump as one. */
export function joinDevice(messages: readonly WireguardDeviceMessage[]): WireguardDeviceMessage | undefined {
  const [first, ...others] = messages;
  if (!first) return undefined;
  const peers = [...first.peers];
  for (const { peers: more } of others) {
    const [next, ...rest] = more;
    const last = peers.at(-1);
    if (next && last?.publicKey === next.publicKey) {
      peers[peers.length - 1] = { ...last, allowedIps: [...last.allowedIps, ...next.allowedIps] };
    } else if (next) peers.push(next);
    peers.push(...rest);
  }
  return { ...first, peers };
}

function decodePeer(attributes: AttributeReader): WireguardPeerMessage | undefined {
  let publicKey: WireguardKey | undefined;
  let presharedKey: WireguardKey | undefined;
  let endpoint: Endpoint | undefined;
  let keepaliveSeconds = 0;
  let lastHandshakeMs = 0;
  const allowedIps: Prefix[] = [];
  while (attributes.next()) {
    switch (attributes.type) {
      case WGPEER_A_PUBLIC_KEY:
        publicKey = keyOf(attributes);
        break;
      case WGPEER_A_PRESHARED_KEY:
        presharedKey = keyOf(attributes);
        break;
      case WGPEER_A_ENDPOINT:
        endpoint = decodeEndpoint(attributes.bytes());
        break;
      case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
        keepaliveSeconds = attributes.u16();
        break;
      case WGPEER_A_LAST_HANDSHAKE_TIME:
        lastHandshakeMs = decodeTime(attributes);
        break;
      case WGPEER_A_ALLOWEDIPS: {
        const list = attributes.nested();
        while (list.next()) {
          const prefix = decodeAllowedIp(list.nested());
          if (prefix) allowedIps.push(prefix);
        }
        break;
      }
    }
  }
  return publicKey === undefined
    ? undefined
    : { publicKey, presharedKey, endpoint, keepaliveSeconds, lastHandshakeMs, allowedIps };
}

function decodeAllowedIp(attributes: AttributeReader): Prefix | undefined {
  let address: Address | undefined;
  let length: number | undefined;
  while (attributes.next()) {
    if (attributes.type === WGALLOWEDIP_A_IPADDR) address = attributes.address();
    else if (attributes.type === WGALLOWEDIP_A_CIDR_MASK) length = attributes.u8();
  }
  return address && length !== undefined && length <= (address.includes(":") ? 128 : 32)
    ? makePrefix(address, length)
    : undefined;
}

function sockaddr({ address, port }: Endpoint): Uint8Array {
  const family = familyOf(address);
  const bytes = new Uint8Array(family === "ipv4" ? SOCKADDR_IN_LENGTH : SOCKADDR_IN6_LENGTH);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, familyNumber(family), true);
  view.setUint16(2, port, false);
  writeAddress(bytes, family === "ipv4" ? 4 : 8, address);
  return bytes;
}

function decodeEndpoint(bytes: Uint8Array): Endpoint | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length === SOCKADDR_IN_LENGTH) return { address: readAddress(bytes, 4, 4), port: view.getUint16(2, false) };
  if (bytes.length === SOCKADDR_IN6_LENGTH) {
    return { address: readAddress(bytes, 8, 16), port: view.getUint16(2, false) };
  }
  return undefined;
}

function decodeTime(attributes: AttributeReader): number {
  const bytes = attributes.bytes();
  if (bytes.length !== 16) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Number(view.getBigInt64(0, true)) * 1000 + Math.floor(Number(view.getBigInt64(8, true)) / 1e6);
}

/** undefined for one that is zero, which stands for none, and for what is no key. */
function keyOf(attributes: AttributeReader): WireguardKey | undefined {
  const bytes = attributes.bytes();
  return bytes.length === WG_KEY_LEN && bytes.some((byte) => byte !== 0) ? bytes.toBase64() : undefined;
}

function keyBytes(key: WireguardKey | undefined): Uint8Array {
  return key === undefined ? new Uint8Array(WG_KEY_LEN) : Uint8Array.fromBase64(key);
}
