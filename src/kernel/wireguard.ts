// The driver of WireGuard's keys, ports and peers. The kernel tells nobody when they change, so they are read again now and then; what was on a link that went
// is gone with it. All of a device of ours is ours: a peer that nobody wants is removed.
//
// Endpoints move: the kernel sends to where the last authenticated packet of a peer came from, which behind a NAT is not what the lease says. So while a session
// lives, another endpoint than the one we gave is no drift; when none does, or the lease says another than before, the lease's is set. At a start too: who has been
// told what is not known, and a peer that is elsewhere comes with its next packet.

import type { Answer } from "../netlink/error.ts";
import { NetlinkError } from "../netlink/error.ts";
import type { PeerChange, WireguardDeviceMessage, WireguardKey, WireguardPeerMessage } from "../netlink/wireguard.ts";
import type { WireguardAllowedIp, WireguardDevice, WireguardPeer } from "../state/backend_object.ts";
import { type KernelObject, type ObjectKey, type ObjectKind, objectKey } from "../state/object.ts";
import type { Operation } from "../state/operation.ts";
import { printObject } from "../state/print.ts";
import { EADDRINUSE, ENODEV } from "../sys/error.ts";
import { type Driver, type Outcome, Overtaken } from "./driver.ts";
import { Mirror } from "./mirror.ts";

/** One request to the kernel. */
export type WireguardChange =
  | {
      readonly kind: "device";
      readonly dev: string;
      readonly privateKey: WireguardKey | undefined;
      readonly listenPort: number;
    }
  | { readonly kind: "peer"; readonly dev: string; readonly peer: PeerChange }
  | { readonly kind: "remove"; readonly dev: string; readonly publicKey: WireguardKey };

/** How devices are read and changed, and where the private key is. */
export interface WireguardAccess extends Disposable {
  /** undefined: there is no such device. */
  read(dev: string): WireguardDeviceMessage | undefined;
  /** One answer per change; undefined for done. */
  change(changes: readonly WireguardChange[]): readonly (Answer | undefined)[];
  /** The private key in the file. Throws when there is none. */
  privateKey(): { readonly privateKey: WireguardKey; readonly publicKey: WireguardKey };
  /** Milliseconds since the epoch. */
  now(): number;
}

export interface WireguardOptions {
  /** Names of links that are ours, existing or not, of whatever kind. */
  readonly links: ReadonlySet<string>;
  readonly privateKeyFile: string;
  readonly periodMs: number;
}

const KINDS: readonly ObjectKind[] = ["wgdevice", "wgpeer", "wgallowed"];

/** A session ends so long after its handshake: REJECT_AFTER_TIME of the WireGuard paper, section 6.1. */
const SESSION_MS = 180_000;

type Endpoint = WireguardPeer["endpoint"];

export class WireguardDriver implements Driver {
  readonly kinds = KINDS;
  readonly mirror = new Mirror();
  readonly #access: WireguardAccess;
  readonly #options: WireguardOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  /** The endpoint that each peer got from us, or had when we found it: what it has beside that, it was given by its own packets. */
  readonly #given = new Map<ObjectKey, Endpoint>();
  /** Public key → private key, as devices had them: a file may be lost while all stands. */
  readonly #privateKeys = new Map<WireguardKey, WireguardKey>();
  #wake: () => void = () => {};
  #inDoubt = true;

  constructor(access: WireguardAccess, options: WireguardOptions) {
    this.#access = access;
    this.#options = options;
    this.#timer = setInterval(() => this.look(), options.periodMs);
    this.#timer.unref();
  }

  get inDoubt(): boolean {
    return this.#inDoubt;
  }

  watch(wake: () => void): void {
    this.#wake = wake;
  }

  linkGone(dev: string): void {
    this.mirror.loseWhere(KINDS, (object) => "dev" in object && object.dev === dev);
    for (const key of this.#given.keys()) if (key.endsWith(` dev ${dev}`)) this.#given.delete(key);
    this.#wake();
  }

  async refresh(): Promise<void> {
    if (!this.#inDoubt) return;
    const devices = [...this.#options.links].map((dev) => [dev, this.#access.read(dev)] as const);
    this.#inDoubt = false;
    const seen = this.mirror.during(() => {
      for (const [dev, device] of devices) if (device) this.#see(dev, device);
    });
    this.mirror.loseWhere(KINDS, (_, key) => !seen.has(key));
  }

  async apply(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const outcomes = new Array<Outcome>(operations.length).fill(undefined);
    const changes: WireguardChange[] = [];
    /** For each change, the number of its operation. */
    const asked: number[] = [];
    const leaving = new Set(operations.filter(({ verb }) => verb === "delete").map(({ key }) => key));
    const kept =
      operations[0]?.object.kind === "wgallowed" && leaving.size > 0 ? this.#prefixesWithout(leaving) : EMPTY;
    for (const [i, operation] of operations.entries()) {
      const change = this.#changeFor(operation, kept);
      if (change instanceof Error) outcomes[i] = change;
      else {
        asked.push(i);
        changes.push(change);
      }
    }
    for (const [n, answer] of this.#access.change(changes).entries()) {
      const i = asked[n] ?? 0;
      const operation = operations[i];
      if (operation) outcomes[i] = this.#outcome(operation, answer);
    }
    return outcomes;
  }

  #see(dev: string, { publicKey, privateKey, listenPort = 0, peers }: WireguardDeviceMessage): void {
    const { privateKeyFile } = this.#options;
    if (publicKey !== undefined) {
      if (privateKey !== undefined) this.#privateKeys.set(publicKey, privateKey);
      this.mirror.see({ kind: "wgdevice", dev, publicKey, privateKeyFile, listenPort }, true);
    }
    for (const peer of peers) {
      this.#seePeer(dev, peer);
      for (const prefix of peer.allowedIps) {
        this.mirror.see({ kind: "wgallowed", dev, prefix, publicKey: peer.publicKey }, true);
      }
    }
  }

  #seePeer(
    dev: string,
    { publicKey, endpoint, presharedKey, keepaliveSeconds, lastHandshakeMs }: WireguardPeerMessage,
  ) {
    const key = objectKey.wgpeer(publicKey, dev);
    const age = this.#access.now() - lastHandshakeMs;
    const inSession = age >= 0 && age < SESSION_MS;
    if (endpoint && !this.#given.has(key)) this.#given.set(key, endpoint);
    const told = inSession ? this.#given.get(key) : undefined;
    this.mirror.see(
      { kind: "wgpeer", dev, publicKey, endpoint: told ?? endpoint ?? NOWHERE, keepaliveSeconds, presharedKey },
      true,
    );
  }

  #changeFor({ verb, key, object }: Operation, kept: ReadonlyMap<string, PeerChange>): WireguardChange | Error {
    switch (object.kind) {
      case "wgdevice":
        return verb === "delete"
          ? { kind: "device", dev: object.dev, privateKey: undefined, listenPort: 0 }
          : this.#deviceChange(object);
      case "wgpeer": {
        const { dev, publicKey, endpoint, keepaliveSeconds, presharedKey } = object;
        if (verb === "delete") return { kind: "remove", dev, publicKey };
        this.#given.set(key, endpoint);
        return { kind: "peer", dev, peer: { publicKey, keepaliveSeconds, presharedKey, endpoint } };
      }
      case "wgallowed": {
        const { dev, publicKey, prefix } = object;
        const peer = verb === "delete" ? kept.get(peerName(object)) : undefined;
        return { kind: "peer", dev, peer: peer ?? { publicKey, onlyExisting: true, allowedIps: [prefix] } };
      }
      default:
        return new Error(`wireguard driver got a ${object.kind}`);
    }
  }

  #deviceChange({ dev, publicKey, listenPort }: WireguardDevice): WireguardChange | Error {
    const known = this.#privateKeys.get(publicKey);
    if (known !== undefined) return { kind: "device", dev, privateKey: known, listenPort };
    const { privateKeyFile } = this.#options;
    try {
      const found = this.#access.privateKey();
      if (found.publicKey === publicKey) return { kind: "device", dev, privateKey: found.privateKey, listenPort };
    } catch (error) {
      return new Error(`cannot read ${privateKeyFile}: ${error instanceof Error ? error.message : error}`);
    }
    return new Error(
      `cannot set the key of ${dev}: ${privateKeyFile} holds another than when flanneld started; start flanneld again`,
    );
  }

  /** For each peer that loses prefixes, the change to those that are left: the kernel takes away no single one. */
  #prefixesWithout(leaving: ReadonlySet<ObjectKey>): ReadonlyMap<string, PeerChange> {
    const changes = new Map<string, PeerChange & { readonly allowedIps: WireguardAllowedIp["prefix"][] }>();
    const objects = [...this.mirror.all].flatMap(([key, { object }]) =>
      object.kind === "wgallowed" ? [{ key, object }] : [],
    );
    for (const { key, object } of objects) {
      const { publicKey } = object;
      if (leaving.has(key)) {
        changes.set(peerName(object), { publicKey, onlyExisting: true, replace: true, allowedIps: [] });
      }
    }
    for (const { key, object } of objects) {
      if (!leaving.has(key)) changes.get(peerName(object))?.allowedIps.push(object.prefix);
    }
    return changes;
  }

  #outcome({ verb, key, object }: Operation, answer: Answer | undefined): Outcome {
    const gone = answer?.errno === ENODEV;
    if (verb === "delete" && (!answer || gone)) {
      this.mirror.confirm(key, undefined);
      if (object.kind === "wgpeer") this.#forgetPeer(key, object);
      return undefined;
    }
    if (!answer) {
      this.mirror.confirm(key, object);
      return undefined;
    }
    this.#inDoubt = true;
    const error = new NetlinkError(verb, printObject(object), answer, adviceOn(object, answer));
    return gone ? new Overtaken(error.message) : error;
  }

  /** Its prefixes go with it, those too that are wanted of it. */
  #forgetPeer(key: ObjectKey, { dev, publicKey }: WireguardPeer): void {
    this.#given.delete(key);
    const mine = (object: KernelObject) =>
      object.kind === "wgallowed" && object.dev === dev && object.publicKey === publicKey;
    this.mirror.loseWhere(["wgallowed"], mine);
  }

  /** Reads everything anew at the next pass. */
  look(): void {
    this.#inDoubt = true;
    this.#wake();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#access[Symbol.dispose]();
  }
}

const EMPTY: ReadonlyMap<string, PeerChange> = new Map();

/** A peer that was added without an endpoint and has not been heard of. */
const NOWHERE = { address: "::", port: 0 } as Endpoint;

function peerName({ dev, publicKey }: WireguardAllowedIp): string {
  return `${publicKey} ${dev}`;
}

function adviceOn(object: KernelObject, { errno }: Answer): string | undefined {
  if (object.kind !== "wgdevice" || errno !== EADDRINUSE) return undefined;
  return `another program has UDP port ${object.listenPort}: see ss -lunp, or set Backend.ListenPort or Backend.ListenPortV6`;
}
