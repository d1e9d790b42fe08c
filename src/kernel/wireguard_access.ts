// WireGuard's devices through generic netlink. What is sent and received holds keys, so none of it is traced.

import { readFileSync } from "node:fs";
import { type Answer, AnswerError } from "../netlink/error.ts";
import { decodeFamily, getFamily } from "../netlink/genetlink.ts";
import { NETLINK_GENERIC } from "../netlink/open.ts";
import { RequestSocket } from "../netlink/socket.ts";
import {
  decodeDevice,
  dumpDevice,
  joinDevice,
  removePeer,
  setDevice,
  setPeer,
  WG_GENL_NAME,
  type WireguardDeviceMessage,
} from "../netlink/wireguard.ts";
import { ENODEV, ENOENT, EOPNOTSUPP } from "../sys/error.ts";
import { KEY_BYTES, x25519 } from "../sys/x25519.ts";
import { type WireguardAccess, type WireguardChange, WireguardDriver } from "./wireguard.ts";

/** The kernel tells of no change, so devices are read as often as sysctls are. */
const PERIOD_MS = 5_000;

/** `links`: names of ours, existing or not. */
export function openWireguard(links: ReadonlySet<string>, privateKeyFile = ""): WireguardDriver {
  return new WireguardDriver(new NetlinkAccess(privateKeyFile), { links, privateKeyFile, periodMs: PERIOD_MS });
}

class NetlinkAccess implements WireguardAccess {
  readonly #socket = new RequestSocket({ protocol: NETLINK_GENERIC, trace: () => {} });
  readonly #privateKeyFile: string;
  #family: number | undefined;

  constructor(privateKeyFile: string) {
    this.#privateKeyFile = privateKeyFile;
  }

  read(dev: string): WireguardDeviceMessage | undefined {
    try {
      const family = this.#familyNumber();
      return joinDevice(
        this.#socket.dump(
          (writer) => dumpDevice(writer, family, dev),
          (message) => decodeDevice(message, family),
        ),
      );
    } catch (error) {
      // No WireGuard in this kernel, no such link, a link of another kind.
      if (error instanceof AnswerError && [ENOENT, ENODEV, EOPNOTSUPP].includes(error.errno)) return undefined;
      throw error;
    }
  }

  change(changes: readonly WireguardChange[]): readonly (Answer | undefined)[] {
    if (changes.length === 0) return [];
    let family: number;
    try {
      family = this.#familyNumber();
    } catch (error) {
      if (error instanceof AnswerError) return changes.map(() => error);
      throw error;
    }
    return this.#socket.batch((writer) => {
      for (const change of changes) {
        switch (change.kind) {
          case "device":
            setDevice(writer, family, change.dev, change);
            break;
          case "peer":
            setPeer(writer, family, change.dev, change.peer);
            break;
          case "remove":
            removePeer(writer, family, change.dev, change.publicKey);
            break;
        }
      }
    });
  }

  privateKey(): ReturnType<WireguardAccess["privateKey"]> {
    const bytes = Buffer.from(readFileSync(this.#privateKeyFile, "utf8").trim(), "base64");
    if (bytes.length !== KEY_BYTES) throw new Error("it holds no key of 32 bytes in base64");
    return { privateKey: bytes.toString("base64"), publicKey: Buffer.from(x25519(bytes)).toString("base64") };
  }

  now(): number {
    return Date.now();
  }

  #familyNumber(): number {
    this.#family ??= this.#socket.request((writer) => getFamily(writer, WG_GENL_NAME), decodeFamily)[0];
    if (this.#family === undefined)
      throw new AnswerError({ errno: ENOENT, kernelMessage: undefined, offset: undefined });
    return this.#family;
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
