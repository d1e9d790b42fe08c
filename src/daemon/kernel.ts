// The reconciler with Linux's drivers, at work for as long as this object lives.

import type { HostFacts } from "../backend/backend.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Driver } from "../kernel/driver.ts";
import { Reconciler } from "../kernel/reconciler.ts";
import { RtnetlinkDriver } from "../kernel/rtnetlink.ts";
import { HOST_PROC_SYS, PROC_SYS, SysctlDriver } from "../kernel/sysctl.ts";
import type { Route } from "../state/object.ts";
import { type FirewallFacts, ownNetworks, type RuleChoice, ruleDrivers } from "./firewall.ts";
import type { Log } from "./log.ts";
import { reportReconcile } from "./report.ts";

/** What the kernel's drivers are told of the firewall. */
export interface FirewallPart {
  readonly choice: RuleChoice;
  readonly facts: FirewallFacts;
  /** Networks of the run before this one, whose rules are ours too. */
  readonly previous: PerFamily<Prefix>;
  /** How often rules are looked at where nobody tells of changes. */
  readonly resyncMs: number;
}

export interface KernelParts {
  /** Names of our links, existing or not. */
  readonly links: ReadonlySet<string>;
  readonly networks: PerFamily<Prefix>;
  readonly nexthopObjects: boolean;
  /** Whether another flannel's data plane without links stands, which this one takes over. */
  readonly takesOver: boolean;
  readonly firewall: FirewallPart;
  /** Of what only some backends make; ended with this object. */
  readonly drivers: readonly Driver[];
}

/** Sysctls change without a message; as often as upstream looks after iptables. */
const SYSCTL_PERIOD_MS = 5_000;

export class Kernel implements Disposable {
  readonly reconciler: Reconciler;
  readonly nexthopObjects: boolean;
  /** Whether there is a data plane, from before this began or since: then a failure must not take away what works. */
  stands: boolean;
  readonly #drivers: readonly Driver[];
  readonly #rtnetlink: RtnetlinkDriver;
  readonly #stop = new AbortController();
  #hostChanged: () => void = () => {};
  #changedMeanwhile = false;
  #tookOver = false;

  constructor(
    { links, networks, nexthopObjects, takesOver, firewall, drivers }: KernelParts,
    log: Log,
    onTroubles: (count: number) => void,
  ) {
    this.nexthopObjects = nexthopObjects;
    const sysctls = new SysctlDriver(SYSCTL_PERIOD_MS, PROC_SYS, (words) =>
      log.warn(`${words}; done without; mount the host's /proc/sys/net at ${HOST_PROC_SYS}/net`),
    );
    const rtnetlink = new RtnetlinkDriver({
      ownership: { links, networks },
      nexthopObjects,
      onLinkGone: (name) => {
        for (const driver of [sysctls, ...drivers]) driver.linkGone?.(name);
      },
      onHostChange: () => {
        this.#changedMeanwhile = true;
        this.#hostChanged();
      },
    });
    const { choice, facts, previous, resyncMs } = firewall;
    const rules = ruleDrivers(choice, facts, ownNetworks(networks, previous), { periodMs: resyncMs });
    this.#drivers = [rtnetlink, sysctls, ...drivers, ...rules];
    this.#rtnetlink = rtnetlink;
    const remembered = drivers.some(({ mirror }) => mirror.all.size > 0);
    // A backend without a device has routes alone, or what its commands made.
    this.stands = [...links].some((name) => rtnetlink.stands(name)) || rtnetlink.hasRoutes() || remembered || takesOver;
    this.reconciler = new Reconciler(this.#drivers, {
      report: (event) => {
        if (this.#stop.signal.aborted) return; // a pass that the end cuts short fails on closed sockets: no news
        reportReconcile(log, event);
        onTroubles(this.reconciler.troubles.size);
      },
    });
    this.reconciler.run(this.#stop.signal).catch((error: unknown) => {
      if (this.#stop.signal.aborted) return;
      log.error(`the reconciler stopped: ${error instanceof Error ? error.stack : error}`);
      process.exitCode = 1;
      process.kill(process.pid, "SIGTERM");
    });
  }

  /** Says which interface is the external one, and what is on link there: its state and those routes are heard of from now on. */
  follow({ external: { name, routes } }: HostFacts): void {
    this.#rtnetlink.follow({ name, onLink: routes.filter((route) => !route.gateway).map(({ dst }) => dst) });
  }

  /** Takes routes over that another flannel left, the first time only: they go with the next desired state that has them not. */
  takeOver(find: () => readonly Route[]): void {
    if (this.#tookOver) return;
    this.#tookOver = true;
    this.#rtnetlink.adopt(find());
  }

  /** Resolves at the next change of a link or address that is not ours, or of what is on link, or at once when there was one since the last call. */
  async hostChange(signal: AbortSignal): Promise<void> {
    if (!this.#changedMeanwhile && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#hostChanged = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    this.#changedMeanwhile = false;
  }

  /** What the drivers have to tell, for people who ask. */
  get details(): readonly string[] {
    return this.#drivers.flatMap(({ details }) => details ?? []);
  }

  /** Removes everything that is ours. */
  async clear(): Promise<void> {
    this.reconciler.desire(new Map(), "all", true);
    await this.reconciler.settled();
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    for (const driver of this.#drivers) driver[Symbol.dispose]();
  }
}
