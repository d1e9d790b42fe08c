// The built-in plugin portmap: ports of the host that lead to ports of the container (Kubernetes' hostPort, `podman run -p`), by iptables. Chained after the
// plugin that made the interface; the result is that plugin's. Configuration, rules and chains are those of the reference plugin 1.1.1.

import { FAMILIES, type Family } from "../../ip/family.ts";
import { type Prefix, parsePrefix, prefixAddress, prefixFamily } from "../../ip/prefix.ts";
import { CNI_CODE, CniError, cniErrorOf } from "../cni_error.ts";
import { IptablesUnusable, readTable } from "../iptables.ts";
import type { Plugin, PluginConf } from "../plugin.ts";
import type { Result } from "../result.ts";
import { missingRules, putRules, removeContainer, removeStale, withRulesLocked } from "./apply.ts";
import { hasMappings, type PortmapConf, readPortmapConf } from "./conf.ts";
import { containerChain, entryNetwork, entryTarget, rulesFor, TABLE } from "./rules.ts";

export const portmap: Plugin = {
  type: "portmap",

  async add({ call, conf }) {
    const portmapConf = readPortmapConf(conf);
    const result = previous(conf);
    if (portmapConf.mappings.length === 0) return result;
    const owner = { name: conf.name, containerId: call.containerId };
    const containers = containerAddresses(result);
    withRulesLocked(() => {
      for (const container of containers) putRules(prefixFamily(container), rulesFor(owner, portmapConf, container));
    });
    await finish(containers, portmapConf);
    return result;
  },

  async del({ call, conf }) {
    if (!hasMappings(conf)) return;
    const chain = containerChain({ name: conf.name, containerId: call.containerId });
    withRulesLocked(() => onEveryFamily((family) => removeContainer(family, chain)));
  },

  async check({ call, conf }) {
    const portmapConf = readPortmapConf(conf);
    const result = previous(conf);
    if (portmapConf.mappings.length === 0) return;
    const owner = { name: conf.name, containerId: call.containerId };
    const missing = containerAddresses(result).flatMap((container) =>
      missingRules(prefixFamily(container), rulesFor(owner, portmapConf, container)),
    );
    if (missing.length === 0) return;
    throw new CniError(
      CNI_CODE.internal,
      `portmap: table ${TABLE} lacks ${missing.length} of the chains and rules of container ${call.containerId}`,
      missing.join("; "),
    );
  },

  async status() {
    try {
      onEveryFamily((family) => readTable(family, TABLE));
    } catch (error) {
      throw new CniError(CNI_CODE.notAvailable, `portmap: ${cniErrorOf(error).message}`, undefined, { cause: error });
    }
  },

  async gc({ conf }, valid) {
    const chains = new Set(valid.map(({ containerId }) => containerChain({ name: conf.name, containerId })));
    const isStale = (entry: string) => entryNetwork(entry) === conf.name && !chains.has(entryTarget(entry) ?? "");
    withRulesLocked(() => onEveryFamily((family) => removeStale(family, isStale)));
  },
};

function previous({ prevResult }: PluginConf): Result {
  if (prevResult) return prevResult;
  throw new CniError(
    CNI_CODE.invalidConfig,
    "portmap: prevResult: missing, want it: portmap goes after another plugin in a chain",
  );
}

/** The first address of each family that is the container's, not the host's. */
function containerAddresses({ ips, interfaces }: Result): Prefix[] {
  const own = ips.flatMap(({ address, interface: index }) => {
    const link = index === undefined ? undefined : interfaces[index];
    if (link && !link.sandbox) return [];
    const prefix = parsePrefix(address);
    if (prefix) return [prefix];
    throw new CniError(
      CNI_CODE.invalidConfig,
      `portmap: prevResult.ips: got ${JSON.stringify(address)}, want an address and its length`,
    );
  });
  return FAMILIES.flatMap((family) => own.find((prefix) => prefixFamily(prefix) === family) ?? []);
}

/** What is to be done besides the rules; most pods publish nothing, so it is loaded only here. */
async function finish(containers: readonly Prefix[], { mappings, snat }: PortmapConf): Promise<void> {
  const ipv4 = containers.find((container) => prefixFamily(container) === "ipv4");
  if (snat && ipv4) {
    const { routeLoopbackTo } = await import("./localnet.ts");
    routeLoopbackTo(prefixAddress(ipv4));
  }
  if (!mappings.some(({ protocol }) => protocol === "udp")) return;
  const { forgetStaleUdp } = await import("./stale_udp.ts");
  for (const container of containers) forgetStaleUdp(prefixFamily(container), mappings);
}

/** Goes on after an error and throws the first one; that one family cannot be used is none, unless neither can. */
function onEveryFamily(act: (family: Family) => void): void {
  const unusable: unknown[] = [];
  const failed: unknown[] = [];
  for (const family of FAMILIES) {
    try {
      act(family);
    } catch (error) {
      (error instanceof IptablesUnusable ? unusable : failed).push(error);
    }
  }
  if (failed.length > 0) throw failed[0];
  if (unusable.length === FAMILIES.length) throw unusable[0];
}
