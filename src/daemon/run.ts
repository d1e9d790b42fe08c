// flanneld's main path, from options to a network that stands, in one direction: configuration → host facts → identity → own lease → lease sets → desired
// state → kernel. A lost lease or a changed host begins again at the facts; the kernel is left standing meanwhile and is reconciled to what comes out.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { kindsOfType } from "../backend/backends.ts";
import { bindBackend, Planner } from "../backend/planner.ts";
import type { Options } from "../config/flags.ts";
import { formatSubnetEnv, parseSubnetEnv, previousLease } from "../config/subnet_env.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Lease } from "../lease/lease.ts";
import { keyOf, type ObjectKey } from "../state/object.ts";
import type { SubnetManager } from "../subnet/manager.ts";
import { aborted } from "./aborted.ts";
import { openBackendDrivers } from "./backend_drivers.ts";
import { chooseRules, type RuleChoice, readFirewallFacts, rulesOf } from "./firewall.ts";
import { serveHealth } from "./health.ts";
import { Host } from "./host.ts";
import { secretPathOf, settleIdentity } from "./identity.ts";
import { identityCommandRun } from "./identity_command.ts";
import { KeptFile } from "./kept_file.ts";
import { Kernel } from "./kernel.ts";
import { ownLinks } from "./leftovers.ts";
import type { Log } from "./log.ts";
import { openManager, setStore } from "./open_manager.ts";
import { PlaceWatch } from "./place_watch.ts";
import { type Place, type Plan, planOf } from "./prepare.ts";
import { requireNetAdmin } from "./privilege.ts";
import { RefusalLog } from "./report.ts";
import { comeToRest } from "./rest.ts";
import { StatusFile } from "./status_file.ts";
import { supervisor } from "./supervisor.ts";
import { hasUpstreamRoutes, staleRoutes } from "./takeover.ts";
import { startWatchdog } from "./watchdog.ts";

interface Daemon {
  readonly options: Options;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly status: StatusFile;
  readonly manager: SubnetManager;
  readonly plan: Plan;
  readonly rules: RuleChoice;
  readonly host: Host;
  readonly kernel: Kernel;
  readonly places: PlaceWatch;
}

/** Runs until `signal` aborts and leaves the data plane standing. Throws ConfigError, StoreError or what the kernel refused, with nothing half made. */
export async function run(options: Options, version: string, log: Log, signal: AbortSignal): Promise<void> {
  requireNetAdmin();
  const onError = (error: unknown) => log.error(error instanceof Error ? error.message : String(error));
  const statusFile = join(dirname(options.subnetFile), "status.json");
  using status = new StatusFile(statusFile, version, onError, supervisor(onError));
  using _watchdog = startWatchdog(process.env, process.pid, onError);
  try {
    using _health =
      options.healthzPort > 0
        ? serveHealth(options.healthzIp ?? "0.0.0.0", options.healthzPort, () => status.status.phase === "ready")
        : undefined;
    using manager = await openManager(options, log, status, signal);
    const config = await manager.networkConfig(signal, (reason) => {
      status.set({ phase: "config", cause: reason });
      log.warn(`waiting: ${reason}`);
    });
    setStore(status, manager.kind, true);
    log.info(`network configuration from ${manager.description}`);
    const plan = planOf(config, `${manager.description}: config`);
    const firewallFacts = readFirewallFacts();
    const rules = chooseRules(config, options, firewallFacts);
    for (const warning of [...plan.warnings, ...rules.warnings]) log.warn(warning);
    status.set({ network: plan.networks, backend: plan.backend.type });
    using host = new Host();
    const before = readBefore(options.subnetFile, log);
    const wish = await manager.wishedPublicIp(signal);
    const firewall = {
      choice: rules,
      facts: firewallFacts,
      previous: before.network,
      resyncMs: options.iptablesResync * 1000,
    };
    const kinds = [...(plan.backend.kinds ?? []), ...kindsOfType(status.previousBackend)];
    const links = ownLinks(plan, host.view(), before.network);
    const secretPath = secretPathOf(plan, options.subnetFile);
    const fatal = new AbortController();
    const onFatal = (error: Error) => fatal.abort(error);
    const context = {
      networks: plan.networks,
      links,
      secretPath,
      directory: dirname(options.subnetFile),
      log,
      onFatal,
    };
    const drivers = await openBackendDrivers(kinds, context);
    const nexthopObjects = host.hasNexthopObjects();
    const takesOver = hasUpstreamRoutes(host, plan.networks);
    const parts = { links, networks: plan.networks, nexthopObjects, takesOver, firewall, drivers };
    using kernel = new Kernel(parts, log, (failing) => status.set({ failing }));
    using _dump = onQuit(() => log.info(stateText(status, kernel)));
    const previous = sameNetworks(before, plan.networks);
    const places = new PlaceWatch({ plan, options, host, kernel, manager, log, status }, wish);
    const ending = AbortSignal.any([signal, fatal.signal]);
    await work({ options, log, signal: ending, status, manager, plan, rules, host, kernel, places }, previous);
    if (!signal.aborted) fatal.signal.throwIfAborted();
    status.set({ phase: "stopping" });
  } catch (error) {
    if (signal.aborted) return status.set({ phase: "stopping" });
    status.set({ phase: "failed", cause: error instanceof Error ? error.message : String(error) });
    throw error;
  }
}

/** Lease after lease, until told to stop. `previous`: the subnet to ask for first. */
async function work(daemon: Daemon, previous: PerFamily<Prefix>): Promise<void> {
  const { options, log, signal, status, manager, plan, rules, kernel, places } = daemon;
  const { backend, backendConfig, config, networks } = plan;
  let wished = previous;
  let place = places.now();
  let identity: unknown;
  /** The subnet of this run. */
  let held: PerFamily<Prefix> | undefined;
  while (!signal.aborted) {
    const { external, facts, links } = place;
    log.info(describePlace(place));
    kernel.follow(facts);
    status.set({ phase: "lease", publicIp: external.publicIp });
    if (identity === undefined) {
      const stored = await manager.remembered(external.publicIp, signal);
      const data = stored.backendType === backend.leaseType ? (stored.backendData ?? {}) : {};
      const command = await identityCommandRun(plan, dirname(options.subnetFile), signal);
      const secretPath = secretPathOf(plan, options.subnetFile);
      identity = settleIdentity(plan, { stored: data, links, secretPath, command });
    }
    const attributes = {
      publicIp: external.publicIp,
      backendType: backend.leaseType,
      backendData: backend.leaseData(backendConfig, identity, networks),
    };
    const own = await manager.acquire(config, { attributes, previous: wished }, signal);
    log.info(`Lease acquired: ${subnetText(own.subnet)}`);
    if (held && !Bun.deepEquals(held, own.subnet)) {
      log.error(
        `this node's subnet is now ${subnetText(own.subnet)}, no longer ${subnetText(held)}: containers keep addresses ` +
          `that peers no longer reach until they are made anew (Docker: run mk-docker-opts.sh again and restart it)`,
      );
    }
    held = own.subnet;
    const bound = bindBackend(backend, backendConfig, identity, own, facts);
    const planner = new Planner({ ...bound, node: [...bound.node, ...rulesOf(rules, networks, own.subnet)] });
    const mtu = backend.mtu(backendConfig, facts, networks);
    status.set({ phase: "programming", subnet: own.subnet, mtu });
    const outcome = await serve(daemon, planner, own, place, mtu);
    if (outcome === "lost")
      log.warn(`Lease lost: ${own.key} is gone or another node's; acquiring one again, this subnet first`);
    if (typeof outcome === "object") place = outcome;
    wished = own.subnet;
  }
}

/** Holds one lease. Ends when it is lost, when the host has become another place, or when told to stop. A first start that fails leaves nothing behind. */
async function serve(
  daemon: Daemon,
  planner: Planner,
  own: Lease,
  place: Place,
  mtu: number,
): Promise<"lost" | "stopped" | Place> {
  const end = new AbortController();
  let broken = false;
  const signal = AbortSignal.any([daemon.signal, end.signal]);
  daemon.kernel.reconciler.desire(planner.desired, "all", false);
  const nodeKeys = [...planner.desired.values()].map(keyOf);
  const tasks = [
    announce(daemon, own, nodeKeys, mtu, signal),
    follow(daemon, planner, own, place, signal),
    daemon.manager.keep(own, signal),
    daemon.places.byHost(place, signal),
    daemon.places.byStore(place, signal),
  ];
  try {
    return await Promise.race(tasks);
  } catch (error) {
    broken = true;
    throw error;
  } finally {
    end.abort();
    await Promise.allSettled(tasks); // the next lease must find nobody at work for this one
    if (broken && !daemon.kernel.stands) await daemon.kernel.clear();
  }
}

/**
 * Waits until device and addresses stand, then writes the file that others wait for and tells those who asked; keeps the file until `signal` aborts. Throws
 * what the kernel refused when nothing of ours stood before: a first start that cannot succeed ends.
 */
async function announce(
  { options, log, status, plan, kernel, manager }: Daemon,
  own: Lease,
  nodeKeys: readonly ObjectKey[],
  mtu: number,
  signal: AbortSignal,
): Promise<"stopped"> {
  const stopped = aborted(signal);
  for (;;) {
    const trouble = await Promise.race([kernel.reconciler.standing(nodeKeys), stopped]);
    if (trouble === "stopped") return trouble;
    if (!trouble) break;
    status.set({ phase: "programming", cause: trouble.reason.message });
    if (!kernel.stands) throw trouble.reason;
  }
  const text = formatSubnetEnv({ network: plan.networks, subnet: own.subnet, mtu, ipMasq: options.ipMasq });
  using _file = new KeptFile(options.subnetFile, text, log);
  using _rest = comeToRest();
  kernel.stands = true;
  status.set({ phase: "ready" });
  log.info(`${options.subnetFile} written, flanneld is ready`);
  await Promise.race([manager.ready(own, signal), stopped]);
  return await stopped;
}

function subnetText({ ipv4, ipv6 }: PerFamily<Prefix>): string {
  return [ipv4, ipv6].filter((part) => part !== undefined).join(" and ");
}

/** Lease set after lease set into the kernel. */
async function follow(
  { manager, plan, host, kernel, log, status }: Daemon,
  planner: Planner,
  own: Lease,
  place: Place,
  signal: AbortSignal,
): Promise<"stopped"> {
  const refusals = new RefusalLog(log);
  let complete = false;
  // The node's own objects first: thousands of leases take longer to read, and pods wait for the node.
  await Promise.race([kernel.reconciler.settled(), aborted(signal)]);
  for await (const set of manager.leaseSets(
    { networks: plan.networks, own, hostAddresses: place.facts.addresses },
    signal,
  )) {
    const changed = planner.update(set);
    kernel.takeOver(() => staleRoutes(plan, place, host, set.leases.values(), planner.desired));
    kernel.reconciler.desire(planner.desired, complete ? changed : "all", true);
    if (!complete) log.info(`peers in the first complete lease set: ${set.leases.size}`);
    complete = true;
    const refused = new Map([...set.refused, ...planner.refused]);
    refusals.update(refused);
    status.set({
      peers: set.leases.size - planner.refused.size,
      refused: refused.size,
    });
    for (const key of set.changed) log.detail(2, `${set.leases.has(key) ? "peer" : "peer gone"}: ${key}`);
  }
  return "stopped";
}

/** SIGQUIT asks what the daemon is doing. upstream: prints every goroutine's stack and ends; this one goes on. */
function onQuit(tell: () => void): Disposable {
  process.on("SIGQUIT", tell);
  return { [Symbol.dispose]: () => void process.off("SIGQUIT", tell) };
}

function stateText({ status }: StatusFile, { reconciler, details }: Kernel): string {
  const troubles = [...reconciler.troubles].map(
    ([key, { reason, attempts }]) => `${key}: ${reason.message} (attempts: ${attempts})`,
  );
  return ["state on SIGQUIT", JSON.stringify(status), ...details, ...troubles].join("\n");
}

function describePlace({ external, facts }: Place): string {
  const { name, mtu } = facts.external;
  const text = (addresses: PerFamily<string>) =>
    [addresses.ipv4, addresses.ipv6].filter((each) => each !== undefined).join(" and ");
  return `external interface ${name} (${external.reason}), address ${text(external.address)}, MTU ${mtu}, public IP ${text(external.publicIp)}`;
}

/** What subnet.env tells of the last run. */
function readBefore(
  path: string,
  log: Log,
): { readonly network: PerFamily<Prefix>; readonly subnet: PerFamily<Prefix> } {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return { network: {}, subnet: {} }; // first start
  }
  const { problems, ...before } = previousLease(parseSubnetEnv(text));
  for (const problem of problems) log.warn(`${path}: ${problem}`);
  return before;
}

/** The subnet of the last run, as far as it was of the same network. */
function sameNetworks(
  { network, subnet }: ReturnType<typeof readBefore>,
  networks: PerFamily<Prefix>,
): PerFamily<Prefix> {
  const { ipv4, ipv6 } = subnet;
  return {
    ...(ipv4 && network.ipv4 === networks.ipv4 && { ipv4 }),
    ...(ipv6 && network.ipv6 === networks.ipv6 && { ipv6 }),
  };
}
