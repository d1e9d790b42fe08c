// One node's subnet manager over an API server, without a daemon around it.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Address } from "../../src/ip/address.ts";
import type { Prefix } from "../../src/ip/prefix.ts";
import type { Lease } from "../../src/lease/lease.ts";
import type { LeaseSet } from "../../src/lease/set.ts";
import type { ClusterAccess } from "../../src/subnet/kubernetes/access.ts";
import { KubeApi } from "../../src/subnet/kubernetes/api.ts";
import { KubernetesManager } from "../../src/subnet/kubernetes/manager.ts";
import { API_TIMING } from "../../src/subnet/kubernetes/transport.ts";
import type { SubnetEvent } from "../../src/subnet/store_retry.ts";

const PREFIX = "flannel.alpha.coreos.com/";
/** For what a test waits for. */
export const LIMIT_MS = 10_000;

export class Member implements Disposable {
  readonly name: string;
  readonly manager: KubernetesManager;
  readonly events: SubnetEvent[] = [];
  readonly stop = new AbortController();
  readonly #network: Prefix;
  readonly #directory = mkdtempSync(join(tmpdir(), "flannel-member-"));

  constructor(access: ClusterAccess, name: string, network: Prefix) {
    this.name = name;
    this.#network = network;
    const configPath = join(this.#directory, "net-conf.json");
    writeFileSync(configPath, JSON.stringify({ Network: network, Backend: { Type: "vxlan" } }));
    this.manager = new KubernetesManager(new KubeApi(access, API_TIMING, "0.0.0"), {
      nodeName: name,
      annotationPrefix: PREFIX,
      configPath,
      setCondition: true,
      onEvent: (event) => this.events.push(event),
    });
  }

  async acquire(publicIp: string, mac = "02:00:00:00:00:01"): Promise<Lease> {
    const { signal } = this.stop;
    const config = await this.manager.networkConfig();
    const backendData = { ipv4: { VNI: 1, VtepMAC: mac } };
    const attributes = { publicIp: { ipv4: publicIp as Address }, backendType: "vxlan", backendData };
    return await this.manager.acquire(config, { attributes, previous: {} }, signal);
  }

  /** The first set that `fits`. */
  async set(own: Lease, fits: (set: LeaseSet) => boolean): Promise<LeaseSet> {
    const signal = AbortSignal.any([this.stop.signal, AbortSignal.timeout(LIMIT_MS)]);
    const context = { networks: { ipv4: this.#network }, own, hostAddresses: new Set<Address>() };
    for await (const set of this.manager.leaseSets(context, signal)) if (fits(set)) return set;
    throw new Error("there was no such set");
  }

  [Symbol.dispose](): void {
    this.stop.abort(new Error("the test is over"));
    this.manager[Symbol.dispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
