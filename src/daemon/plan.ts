// What flanneld would do, worked out as flanneld does it and printed instead of done.

import { dirname, join } from "node:path";
import { kindsOfType } from "../backend/backends.ts";
import { bindBackend, Planner } from "../backend/planner.ts";
import { parseFlags } from "../config/flags.ts";
import { parseNetworkConfig } from "../config/net_conf.ts";
import type { Address } from "../ip/address.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Driver } from "../kernel/driver.ts";
import { RtnetlinkDriver } from "../kernel/rtnetlink.ts";
import { SysctlDriver } from "../kernel/sysctl.ts";
import { formatLeaseKey } from "../lease/key.ts";
import { LeaseSetBuilder } from "../lease/set.ts";
import { type KernelObject, KIND_ORDER, keyOf, type ObjectKind, objectKey } from "../state/object.ts";
import { diff, inOrder, type Operation } from "../state/operation.ts";
import { type NexthopIds, printObject, printOperation, type RuleSuffix } from "../state/print.ts";
import { chooseSubnets, fitsRanges } from "../subnet/allocation.ts";
import { isOfNode, knownLeases } from "../subnet/known_lease.ts";
import { openRegistry } from "../subnet/open.ts";
import type { Registry } from "../subnet/registry.ts";
import { ipv4NeededBy } from "../subnet/registry_manager.ts";
import { StoreError } from "../subnet/store_error.ts";
import { canLook, openBackendDrivers } from "./backend_drivers.ts";
import { chooseRules, ownNetworks, type RuleChoice, readFirewallFacts, ruleDrivers, rulesOf } from "./firewall.ts";
import { Host } from "./host.ts";
import { secretPathOf, settleIdentity } from "./identity.ts";
import { identityCommandRun } from "./identity_command.ts";
import { ownLinks } from "./leftovers.ts";
import { createLog } from "./log.ts";
import { storeChoice } from "./open_manager.ts";
import { type Place, type Plan, placeOf, planOf } from "./prepare.ts";
import { backendOfRun } from "./status_file.ts";

const SYSCTL_PERIOD_MS = 60_000; // read once, and gone before it is read again

export interface PlannedOperation {
  readonly verb: Operation["verb"];
  readonly key: string;
  readonly commands: readonly string[];
}

export interface PlannedWork {
  readonly operations: readonly PlannedOperation[];
  /** What to know about the plan, one line each. */
  readonly remarks: readonly string[];
  /** How many of the wanted objects stand already. */
  readonly standing: number;
}

/** `flags`: as given to flanneld. `all`: as if nothing stood. Throws ConfigError and StoreError as flanneld would. */
export async function planFor(flags: readonly string[], all: boolean, signal: AbortSignal): Promise<PlannedWork> {
  const invocation = parseFlags(flags, process.env);
  if (invocation.kind !== "run") throw new RangeError("Cannot plan for --help or --version");
  const { options } = invocation;
  using registry = await openRegistry(storeChoice(options), signal);
  const { text } = await registry.config(signal);
  if (text === undefined) {
    throw new StoreError("absent", registry.description, `${registry.description} holds no network configuration yet`);
  }
  const source = `${registry.description}: config`;
  const plan = planOf(parseNetworkConfig(text, source, ipv4NeededBy(registry)), source);
  using host = new Host();
  const nexthopObjects = host.hasNexthopObjects();
  const place = placeOf(plan, options, host, nexthopObjects);
  const directory = dirname(options.subnetFile);
  const facts = readFirewallFacts();
  const choice = chooseRules(plan.config, options, facts);
  const secretPath = secretPathOf(plan, options.subnetFile);
  const { planner, remarks } = await wantedState(plan, place, choice, registry, { directory, secretPath }, signal);

  const links = ownLinks(plan, host.view(), {});
  const kinds = new Set([...(plan.backend.kinds ?? []), ...kindsOfType(backendOfRun(join(directory, "status.json")))]);
  const unseenKinds: ReadonlySet<ObjectKind> = new Set([...kinds].filter((kind) => !canLook(kind)));
  const unseen = [...planner.desired.values()].filter(({ kind }) => unseenKinds.has(kind));
  const silent = createLog(0, () => {}); // nothing is done that could be told of
  const daemon = planner.desired.get(objectKey.ikedaemon());
  const lookAtIke = daemon?.kind === "ikedaemon" ? daemon : undefined;
  const quiet = { log: silent, onFatal: () => {} };
  const context = { networks: plan.networks, links, secretPath, directory, lookAtIke, ...quiet };
  const single = await openBackendDrivers([...kinds].filter(canLook), context);
  using _single = { [Symbol.dispose]: () => single.forEach((driver) => void driver[Symbol.dispose]()) };
  using rtnetlink = new RtnetlinkDriver({ ownership: { links, networks: plan.networks }, nexthopObjects });
  using sysctls = new SysctlDriver(SYSCTL_PERIOD_MS);
  sysctls.lookAfter(planner.desired.values());
  const own = ownNetworks(plan.networks, {});
  const rules = ruleDrivers(choice, facts, own, { sweepAfter: "now", periodMs: SYSCTL_PERIOD_MS });
  using _rules = { [Symbol.dispose]: () => rules.forEach((driver) => void driver[Symbol.dispose]()) };
  const drivers: readonly Driver[] = [rtnetlink, sysctls, ...single, ...rules];
  for (const kind of KIND_ORDER) await drivers.find(({ kinds }) => kinds.includes(kind))?.refresh(kind);
  const actual = new Map(all ? [] : drivers.flatMap(({ mirror }) => [...mirror.all]));
  // Nobody can tell whether they stand, so they are neither to be made nor standing.
  const hidden = new Set(all ? [] : unseen.map(keyOf));
  const operations = inOrder(diff(planner.desired, actual)).filter(({ key }) => !hidden.has(key));
  const ids: NexthopIds = (hop) => rtnetlink.ids.reserve({ dev: hop.dev, gateway: hop.gateway as Address });
  const suffix: RuleSuffix = ({ kind, family }) =>
    rules.find(({ kinds }) => kinds.includes(kind))?.suffix(family) ?? "";
  const makes = operations.filter(({ verb }) => verb !== "delete").length;
  return {
    operations: operations.map((operation) => ({
      verb: operation.verb,
      key: operation.key,
      commands: printOperation(operation, ids, suffix).split("\n"),
    })),
    remarks: [...remarks, ...(all ? [] : unseenRemarks(unseen))],
    standing: planner.desired.size - hidden.size - makes,
  };
}

function unseenRemarks(unseen: readonly KernelObject[]): readonly string[] {
  const [first] = unseen;
  if (!first) return [];
  const more = unseen.length === 1 ? "" : ` and ${unseen.length - 1} more that belong to it`;
  return [`not looked at: ${printObject(first)}${more}; only the flanneld that runs can see them, --all shows them`];
}

/** Desired state by the leases there are; without a lease of our own, by the one that would be asked for. */
async function wantedState(
  plan: Plan,
  { external, facts, links }: Place,
  rules: RuleChoice,
  registry: Registry,
  { directory, secretPath }: { readonly directory: string; readonly secretPath: string | undefined },
  signal: AbortSignal,
) {
  const { backend, backendConfig, config, networks } = plan;
  const { entries } = await registry.entries(signal);
  const leases = knownLeases(entries);
  const { publicIp } = external;
  const held = leases.find((lease) => isOfNode(lease, publicIp) && fitsRanges(config.ranges, lease.subnet));
  const remarks = [`external interface ${external.link.name} (${external.reason})`, ...rules.warnings];
  let subnet: PerFamily<Prefix>;
  if (held) {
    subnet = held.subnet;
    remarks.push(`own lease ${held.entry.key}`);
  } else {
    const chosen = chooseSubnets(
      config.ranges,
      leases.map((lease) => lease.subnet),
      [],
      () => 0,
    );
    if ("kind" in chosen)
      throw new StoreError("full", registry.description, `no subnet is free in ${registry.description}`);
    subnet = chosen;
    remarks.push(`no lease yet: as if it were ${formatLeaseKey(subnet)}, flanneld takes a free one at random`);
  }
  const stored = held?.attributes?.backendType === backend.leaseType ? held.attributes.backendData : {};
  const command = await identityCommandRun(plan, directory, undefined);
  const identity = settleIdentity(plan, { stored, links, secretPath, command }, "look");
  const backendData = backend.leaseData(backendConfig, identity, networks);
  const key = formatLeaseKey(subnet);
  const own = { key, subnet, publicIp, backendType: backend.leaseType, backendData, expiresAt: undefined };
  const bound = bindBackend(backend, backendConfig, identity, own, facts);
  const planner = new Planner({ ...bound, node: [...bound.node, ...rulesOf(rules, networks, subnet)] });
  const builder = new LeaseSetBuilder({ networks, own, hostAddresses: facts.addresses });
  builder.reset(entries);
  const set = builder.take();
  if (set) planner.update(set);
  for (const [refused, reason] of [...(set?.refused ?? []), ...planner.refused])
    remarks.push(`refused: ${refused}: ${reason}`);
  return { planner, remarks };
}
