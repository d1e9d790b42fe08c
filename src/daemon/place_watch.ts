// Where this host is while flanneld runs: its external interface with its addresses, and what the store says of its public IP (in Kubernetes the annotations
// node-public-ip and node-public-ipv6 of its Node, in place of --public-ip and --public-ipv6). Both are followed. What cannot be followed is told once, and the
// place that there was stays.

import { ConfigError } from "../config/fault.ts";
import type { Options } from "../config/flags.ts";
import type { Address } from "../ip/address.ts";
import { familiesOf, type PerFamily } from "../ip/family.ts";
import type { SubnetManager } from "../subnet/manager.ts";
import { aborted } from "./aborted.ts";
import { sameFacts } from "./facts.ts";
import type { Host } from "./host.ts";
import type { Kernel } from "./kernel.ts";
import type { Log } from "./log.ts";
import { type Place, type Plan, placeOf } from "./prepare.ts";
import type { StatusFile } from "./status_file.ts";

/** A host settles in a burst of notifications: one look at its end. */
const HOST_SETTLES_MS = 100;

export interface PlaceContext {
  readonly plan: Plan;
  readonly options: Options;
  readonly host: Host;
  readonly kernel: Kernel;
  readonly manager: SubnetManager;
  readonly log: Log;
  readonly status: StatusFile;
}

export class PlaceWatch {
  readonly #context: PlaceContext;
  /** The store's word that is followed, and the latest, which may be one that cannot be. */
  #wish: PerFamily<Address>;
  #latest: PerFamily<Address> | string;
  #toldOfHost = "";
  #toldOfWish: string | undefined;

  /** `wish`: the store's word at the start. */
  constructor(context: PlaceContext, wish: PerFamily<Address>) {
    this.#context = context;
    this.#wish = wish;
    this.#latest = wish;
  }

  /** This host as it is now. Throws ConfigError when no interface fits. */
  now(): Place {
    return this.#placeBy(this.#wish);
  }

  /** Resolves with the new place when the host no longer is as planned for; a host without a fitting interface is waited for. */
  async byHost(place: Place, signal: AbortSignal): Promise<Place | "stopped"> {
    while (!signal.aborted) {
      await this.#context.kernel.hostChange(signal);
      if (!signal.aborted) await Bun.sleep(HOST_SETTLES_MS);
      if (signal.aborted) break;
      const now = this.#look(place, "the external interface has changed");
      if (now) return now;
    }
    return "stopped";
  }

  /** Resolves with the new place when the store says another public IP of this node. */
  async byStore(place: Place, signal: AbortSignal): Promise<Place | "stopped"> {
    for await (const wish of this.#context.manager.wishedPublicIps?.(signal) ?? []) {
      this.#latest = wish;
      const now = this.#look(place, "the store says another public IP of this node");
      if (now) return now;
    }
    return await aborted(signal);
  }

  /** The place as it is now if it is another one. */
  #look(place: Place, news: string): Place | undefined {
    const { kernel, log } = this.#context;
    try {
      this.#refuse(this.#takeWish());
      const now = this.now();
      if (!sameFacts(now.facts, place.facts) || !Bun.deepEquals(now.external.publicIp, place.external.publicIp)) {
        log.info(news);
        return now;
      }
      if (this.#toldOfHost !== "") {
        log.info("the external interface is back");
        kernel.reconciler.retry();
      }
      this.#toldOfHost = "";
    } catch (error) {
      const fault = faultText(error);
      if (this.#toldOfHost !== fault) log.error(`${fault}; keeping what stands until there is one`);
      this.#toldOfHost = fault;
    }
    return undefined;
  }

  /** Takes the store's latest word if this host can follow it; else why not. A host that fits no word at all is not the word's fault: throws ConfigError. */
  #takeWish(): string | undefined {
    const latest = this.#latest;
    if (typeof latest === "string") return latest;
    if (Bun.deepEquals(latest, this.#wish)) return undefined;
    try {
      this.#placeBy(latest);
    } catch (error) {
      this.now();
      const fault = faultText(error).replaceAll("\n", "; ");
      return `cannot use the public IP that the ${this.#context.manager.description} says of this node: ${fault}`;
    }
    this.#wish = latest;
    return undefined;
  }

  /** undefined: there is nothing to refuse, any more. */
  #refuse(reason: string | undefined): void {
    if (reason === this.#toldOfWish) return;
    const { log, status } = this.#context;
    this.#toldOfWish = reason;
    const { publicIp } = status.status;
    const stays = familiesOf(publicIp ?? {}).map((family) => publicIp?.[family]);
    const warning = reason && `${reason}; ${stays.join(" and ")} ${stays.length > 1 ? "stay" : "stays"} its public IP`;
    if (warning) log.warn(warning);
    else log.info("what the store says of this node's public IP can be followed again");
    status.set({ warning });
  }

  #placeBy({ ipv4, ipv6 }: PerFamily<Address>): Place {
    const { plan, options, host, kernel } = this.#context;
    const wished = { ...options, ...(ipv4 && { publicIp: ipv4 }), ...(ipv6 && { publicIpv6: ipv6 }) };
    return placeOf(plan, wished, host, kernel.nexthopObjects);
  }
}

function faultText(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  throw error;
}
