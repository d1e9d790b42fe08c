// What must be known before a lease can be asked for: configuration, interface, facts, identity. flanneld and `flannelctl plan` share it, so that a plan is
// what the daemon would do.

import type { Backend, HostFacts } from "../backend/backend.ts";
import { backendOfType } from "../backend/backends.ts";
import type { Options } from "../config/flags.ts";
import { misspeltKeys } from "../config/json_fields.ts";
import type { NetworkConfig } from "../config/network.ts";
import { mapFamilies, type PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import { LinkTable, linkFromMessage } from "../kernel/links.ts";
import type { Link } from "../state/object.ts";
import { readFacts } from "./facts.ts";
import type { Host, HostView } from "./host.ts";
import { chooseInterface, type ExternalInterface } from "./interface.ts";

/** A network configuration with its backend's part read. */
export interface Plan {
  readonly config: NetworkConfig;
  readonly backend: Backend<unknown, unknown>;
  readonly backendConfig: unknown;
  readonly networks: PerFamily<Prefix>;
  /** What to tell the operator although nothing is wrong, one line each. */
  readonly warnings: readonly string[];
}

/** Throws ConfigError when the backend is unknown or its options are wrong. */
export function planOf(config: NetworkConfig, source: string): Plan {
  const backend = backendOfType(config.backend.type, `${source}: Backend.Type`);
  const backendConfig = backend.config(config.backend.raw, `${source}: Backend`);
  const networks = mapFamilies(config.ranges, (range) => range.network);
  const misspelt = misspeltKeys(config.backend.raw, ["Type", ...backend.optionNames]).map(
    ({ key, meant }) => `${source}: Backend.${key} has no effect; did you mean ${meant}`,
  );
  return { config, backend, backendConfig, networks, warnings: [...config.warnings, ...misspelt] };
}

export interface Place {
  readonly external: ExternalInterface;
  readonly facts: HostFacts;
  /** Links of flannel's kinds that exist. */
  readonly links: readonly Link[];
}

/** This host as it is now. Throws ConfigError when no interface fits. */
export function placeOf(plan: Plan, options: Options, host: Host, nexthopObjects: boolean): Place {
  const view = host.view();
  const { publicIp: ipv4, publicIpv6: ipv6 } = options;
  const wishes = {
    iface: options.iface,
    ifaceRegex: options.ifaceRegex,
    ifaceCanReach: options.ifaceCanReach,
    publicIp: { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) },
  };
  const external = chooseInterface(wishes, plan.networks, view, host);
  return {
    external,
    facts: readFacts(host, view, external, nexthopObjects, plan.networks),
    links: knownLinks(view),
  };
}

function knownLinks(view: HostView): Link[] {
  const table = new LinkTable();
  for (const link of view.links) table.set(link);
  return view.links.map((link) => linkFromMessage(link, table)).filter((link) => link !== undefined);
}
