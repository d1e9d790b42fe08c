// The peers of a benchmark: as leases in a store, and as the batch files with which iproute2 makes the very same
// kernel objects.
//
//   peer 0: subnet 10.16.0.0/24, public IP 172.16.0.0, VTEP 02:01:00:00:00:00; peer n counts each of them up

import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROUTE_PROTOCOL } from "../src/state/print.ts";
import { openRegistry } from "../src/subnet/open.ts";
import type { Registry } from "../src/subnet/registry.ts";

export const DEVICE = "flannel.1";
export const NETWORK = "10.0.0.0/8";
/** Above the subnets of the peers, so that no own lease is in their way. */
export const NETWORK_CONFIG = JSON.stringify({
  Network: NETWORK,
  SubnetLen: 24,
  SubnetMin: "10.1.0.0",
  SubnetMax: "10.15.255.0",
  Backend: { Type: "vxlan" },
});
const FIRST_SUBNET = 0x0a100000;
const FIRST_PUBLIC_IP = 0xac100000;
const DAY_MS = 86_400_000;
/** Nexthop ids of the batch files, as far from others as flanneld's. */
const FIRST_ID = 0x40000000;

const dotted = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join(".");

function macOf(peer: number, generation: number): string {
  const bytes = [2, generation, (peer >>> 24) & 0xff, (peer >>> 16) & 0xff, (peer >>> 8) & 0xff, peer & 0xff];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

const subnetOf = (peer: number) => dotted(FIRST_SUBNET + peer * 256);
const publicIpOf = (peer: number) => dotted(FIRST_PUBLIC_IP + peer);

export function leaseKey(peer: number): string {
  return `${subnetOf(peer)}-24`;
}

/** Another `generation` is the same peer with another MAC. */
export function leaseValue(peer: number, generation = 1): string {
  const data = { VNI: 1, VtepMAC: macOf(peer, generation) };
  return JSON.stringify({ PublicIP: publicIpOf(peer), PublicIPv6: null, BackendType: "vxlan", BackendData: data });
}

export async function putPeer(registry: Registry, peer: number, signal: AbortSignal): Promise<void> {
  const entry = await registry.create(leaseKey(peer), leaseValue(peer), DAY_MS, signal);
  if (entry === "exists") throw new Error(`cannot create peer ${peer}: it exists`);
}

export async function changePeer(
  registry: Registry,
  peer: number,
  generation: number,
  signal: AbortSignal,
): Promise<void> {
  const { entry } = await registry.entry(leaseKey(peer), signal);
  if (!entry || (await registry.replace(entry, leaseValue(peer, generation), DAY_MS, signal)) === "conflict") {
    throw new Error(`cannot change peer ${peer}: it is gone or was changed`);
  }
}

export async function removePeer(registry: Registry, peer: number, signal: AbortSignal): Promise<void> {
  const { entry } = await registry.entry(leaseKey(peer), signal);
  if (!entry || (await registry.remove(entry, signal)) === "conflict") {
    throw new Error(`cannot remove peer ${peer}: it is gone or was changed`);
  }
}

/** Stores with a number of peers, each written once and copied for every run. */
export class Stores implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "flannel-bench-stores-"));
  readonly #made = new Map<number, string>();

  /** Puts a store with `count` peers at `path`. */
  async copy(count: number, path: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const made = this.#made.get(count) ?? (await this.#make(count, signal));
    this.#made.set(count, made);
    copyFileSync(made, path);
  }

  async #make(count: number, signal: AbortSignal): Promise<string> {
    const path = join(this.#directory, `${count}.db`);
    using registry = await openRegistry({ kind: "embedded", path }, signal);
    await registry.setConfig(NETWORK_CONFIG, signal);
    for (let peer = 0; peer < count; peer++) await putPeer(registry, peer, signal);
    return path;
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export interface BatchFiles {
  /** For `ip -batch`: neighbours, nexthops, routes. */
  readonly ip: string;
  /** For `bridge -batch`: FDB entries. */
  readonly bridge: string;
}

/** Writes the files that make what flanneld makes of `count` peers, in the same form: routes by nexthop id. */
export function writeBatchFiles(directory: string, count: number): BatchFiles {
  const peers = Array.from({ length: count }, (_, peer) => peer);
  const neighbours = peers.map(
    (n) => `neighbour replace ${subnetOf(n)} lladdr ${macOf(n, 1)} dev ${DEVICE} nud permanent\n`,
  );
  const nexthops = peers.map(
    (n) => `nexthop add id ${FIRST_ID + n} via ${subnetOf(n)} dev ${DEVICE} onlink protocol ${ROUTE_PROTOCOL}\n`,
  );
  const routes = peers.map((n) => `route replace ${subnetOf(n)}/24 nhid ${FIRST_ID + n} protocol ${ROUTE_PROTOCOL}\n`);
  const fdb = peers.map((n) => `fdb replace ${macOf(n, 1)} dev ${DEVICE} dst ${publicIpOf(n)} self permanent\n`);
  const files = { ip: join(directory, `ip-${count}`), bridge: join(directory, `bridge-${count}`) };
  writeFileSync(files.ip, [...neighbours, ...nexthops, ...routes].join(""));
  writeFileSync(files.bridge, fdb.join(""));
  return files;
}
