// What must be known before a lease can be asked for: configuration, interface, facts, identity. flanneld and `flannelctl plan` share it, so that a plan is
// what the daemon would do.

import type { Backend, HostFacts } from "../backend/backend.ts";
import { backendOfType, typesCarrying } from "../backend/backends.ts";
import { ConfigError, type Fault, gather } from "../config/fault.ts";
import type { Options } from "../config/flags.ts";
import { misspeltKeys } from "../config/json_fields.ts";
import type { NetworkConfig } from "../config/network.ts";
import { type Family, familiesOf, mapFamilies, type PerFamily } from "../ip/family.ts";
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
  const faults: Fault[] = [];
  const backendConfig = gather(faults, () => backend.config(config.backend.raw, `${source}: Backend`));
  const networks = mapFamilies(config.ranges, (range) => range.network);
  faults.push(...familyFaults(backend, familiesOf(networks), source));
  if (faults.length > 0) throw new ConfigError(faults);
  const misspelt = misspeltKeys(config.backend.raw, ["Type", ...backend.optionNames]).map(
    ({ key, meant }) => `${source}: Backend.${key} has no effect; did you mean ${meant}`,
  );
  const idle = idleOptions(backend, config.backend.raw).map(
    ([key, why]) => `${source}: Backend.${key} has no effect: ${why}`,
  );
  return { config, backend, backendConfig, networks, warnings: [...config.warnings, ...misspelt, ...idle] };
}

function idleOptions({ idleOptions = {} }: Plan["backend"], raw: object): [key: string, why: string][] {
  const given = new Set(Object.keys(raw).map((key) => key.toLowerCase()));
  return Object.entries(idleOptions).filter(([key]) => given.has(key.toLowerCase()));
}

const ENABLE: Record<Family, string> = { ipv4: "EnableIPv4", ipv6: "EnableIPv6" };

/** A fault for each family of the network that the backend does not carry. */
function familyFaults(
  { type, families }: Backend<unknown, unknown>,
  wanted: readonly Family[],
  source: string,
): Fault[] {
  return wanted
    .filter((family) => families?.includes(family) === false)
    .map((family) => {
      const name = family === "ipv4" ? "IPv4" : "IPv6";
      const others = typesCarrying(family).join(", ");
      const want = `false: the ${type} backend carries no ${name}; backends that do: ${others}`;
      return { where: `${source}: ${ENABLE[family]}`, got: "true", want };
    });
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
  if (plan.backend.peersSendToPublicIp) requireOwnAddress(external, plan.backend.type);
  return { external, facts: readFacts(host, view, external, nexthopObjects, plan.networks), links: knownLinks(view) };
}

/** Throws ConfigError when the public IP is not the address of the interface. */
function requireOwnAddress({ link, address, publicIp }: ExternalInterface, type: string): void {
  const faults = familiesOf(publicIp)
    .filter((family) => publicIp[family] !== address[family])
    .map((family) => ({
      where: family === "ipv4" ? "--public-ip" : "--public-ipv6",
      got: publicIp[family],
      want: `${address[family]}, the address of ${link.name}: peers route to it by ${type}, which cannot pass a NAT; behind one, use the vxlan backend`,
    }));
  if (faults.length > 0) throw new ConfigError(faults);
}

function knownLinks(view: HostView): Link[] {
  const table = new LinkTable();
  for (const link of view.links) table.set(link);
  return view.links.map((link) => linkFromMessage(link, table)).filter((link) => link !== undefined);
}
