// An embedded store as other programs write it: configuration and leases of peers, good and bad.

import { openRegistry } from "../../src/subnet/open.ts";
import type { Registry, RegistryEntry } from "../../src/subnet/registry.ts";

const NEVER = new AbortController().signal;

/** What a test can do with the leases of any store. */
export interface PeerStore {
  configure(config: object | string): Promise<void>;
  entries(): Promise<readonly RegistryEntry[]>;
  keys(): Promise<string[]>;
  entry(key: string): Promise<RegistryEntry>;
  put(key: string, value: object | string, ttlMs?: number): Promise<void>;
  remove(key: string): Promise<void>;
}

export class Store implements PeerStore, Disposable {
  readonly path: string;
  readonly #registry: Registry;

  private constructor(path: string, registry: Registry) {
    this.path = path;
    this.#registry = registry;
  }

  static async open(path: string): Promise<Store> {
    return new Store(path, await openRegistry({ kind: "embedded", path }, NEVER));
  }

  async configure(config: object | string): Promise<void> {
    await this.#registry.setConfig(typeof config === "string" ? config : JSON.stringify(config), NEVER);
  }

  async entries(): Promise<readonly RegistryEntry[]> {
    return (await this.#registry.entries(NEVER)).entries;
  }

  async keys(): Promise<string[]> {
    return (await this.entries()).map(({ key }) => key).sort();
  }

  async entry(key: string): Promise<RegistryEntry> {
    const { entry } = await this.#registry.entry(key, NEVER);
    if (!entry) throw new Error(`the store has no ${key}, only ${await this.keys()}`);
    return entry;
  }

  /** Writes a lease over what is there; without `ttlMs` it never ends. */
  async put(key: string, value: object | string, ttlMs?: number): Promise<void> {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const { entry } = await this.#registry.entry(key, NEVER);
    const written = entry
      ? await this.#registry.replace(entry, text, ttlMs, NEVER)
      : await this.#registry.create(key, text, ttlMs, NEVER);
    if (typeof written === "string") throw new Error(`cannot put ${key}: ${written}`);
  }

  async remove(key: string): Promise<void> {
    if ((await this.#registry.remove(await this.entry(key), NEVER)) === "conflict") throw new Error(`${key} changed`);
  }

  [Symbol.dispose](): void {
    this.#registry[Symbol.dispose]();
  }
}

/** "10.5.7.0-24" of 10.5.7.0/24. */
export function leaseKey(subnet: string): string {
  return subnet.replace("/", "-");
}

export interface PeerLease {
  readonly key: string;
  readonly value: {
    readonly PublicIP: string;
    readonly BackendType: string;
    readonly BackendData: { readonly VNI: number; readonly VtepMAC: string };
  };
}

/** A peer that comes after a node has its lease: not among the hundred free subnets of which a node takes any. */
export const LATE = 150;

/** The lease of a peer that exists in the store only: subnet 10.5.n.0/24, public IP 192.168.77.n, MAC 02:00:00:00:00:n. */
export function peerLease(n: number): PeerLease {
  const mac = `02:00:00:00:00:${n.toString(16).padStart(2, "0")}`;
  return {
    key: `10.5.${n}.0-24`,
    value: { PublicIP: `192.168.77.${n}`, BackendType: "vxlan", BackendData: { VNI: 1, VtepMAC: mac } },
  };
}
