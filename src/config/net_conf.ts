// Reads the network configuration: net-conf.json in Kubernetes, the value of <prefix>/config in a store. Keys, meaning and defaults as in upstream's
// configuration document. upstream: the checks run whichever store the text comes from, and all faults are named at once.

import { FAMILIES, type Family } from "../ip/family.ts";
import { ConfigError, type Fault } from "./fault.ts";
import { isJsonObject, misspeltKeys, quote, readFields } from "./json_fields.ts";
import { parseJson } from "./json_syntax.ts";
import { FIELDS, type NetConfValues, RANGE_KEYS, type Remarks } from "./net_conf_fields.ts";
import type { NetworkConfig, SubnetRange } from "./network.ts";
import { readRange } from "./subnet_range.ts";

/** For etcd: the form of its lease keys begins with an IPv4 subnet, so that every daemon of a network of IPv6 alone would take the same key for its own. */
export const IPV4_NEEDED =
  "true: a lease's key in etcd begins with an IPv4 subnet; IPv6 alone needs another store (--store-file)";

/**
 * Reads `text`, which came from `source` (a file or a store's key). Throws ConfigError naming every fault. `ipv4Needed`: why a network of IPv6 alone is none for
 * this store.
 */
export function parseNetworkConfig(text: string, source: string, ipv4Needed?: typeof IPV4_NEEDED): NetworkConfig {
  const raw = parseJson(text, source);
  if (!isJsonObject(raw)) throw new ConfigError([{ where: source, got: quote(raw), want: "a JSON object" }]);
  const where = (key: string) => `${source}: ${key}`;
  const faults: Fault[] = [];
  const warnings: string[] = [];
  const values = readFields(raw, FIELDS, where, faults);
  const remarks: Remarks = {
    wrong(key, got, want) {
      // One fault a field: of the wrong type, it has been named already and counts as absent from there on.
      if (!faults.some((fault) => fault.where === where(key))) faults.push({ where: where(key), got, want });
    },
    warn: (key, message) => warnings.push(`${where(key)}: ${message}`),
  };

  const ranges: { [F in Family]?: SubnetRange } = {};
  for (const family of FAMILIES) {
    const { enable, network } = RANGE_KEYS[family];
    const range = values[enable] ? readRange(family, values, remarks) : undefined;
    if (range) ranges[family] = range;
    else if (!values[enable] && values[network] !== undefined)
      remarks.warn(network, `no effect: ${enable} is not true`);
  }
  if (!values.EnableIPv4 && !values.EnableIPv6) remarks.wrong("EnableIPv4", "false", "true, or EnableIPv6 true");
  else if (!values.EnableIPv4 && ipv4Needed) remarks.wrong("EnableIPv4", "false", ipv4Needed);

  const type = readBackendType(values, where, faults);
  if (values.Backend === undefined) {
    remarks.warn("Backend", 'not set, so it is udp as upstream has it; add "Backend": {"Type": "vxlan"} for vxlan');
  }
  for (const { key, meant } of misspeltKeys(raw, Object.keys(FIELDS))) {
    const got = `the unknown key ${quote(key)}`;
    if (faults.length > 0) faults.push({ where: source, got, want: quote(meant) });
    else warnings.push(`${source}: ${got} has no effect; did you mean ${quote(meant)}`);
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return {
    ranges,
    enableNftables: values.EnableNFTables,
    backend: { type, raw: values.Backend ?? {} },
    warnings,
  };
}

function readBackendType({ Backend }: NetConfValues, where: (key: string) => string, faults: Fault[]): string {
  if (Backend === undefined) return "udp";
  const at = (key: string) => where(`Backend.${key}`);
  const { Type } = readFields(Backend, { Type: { type: "text", default: undefined } }, at, faults);
  if (Type === "" || (Type === undefined && !faults.some((fault) => fault.where === at("Type")))) {
    faults.push({
      where: at("Type"),
      got: Type === undefined ? undefined : quote(Type),
      want: 'a type such as "vxlan"',
    });
  }
  return (Type ?? "").toLowerCase();
}
