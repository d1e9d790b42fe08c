// The configuration of portmap, key by key that of the reference plugin 1.1.1. Keys are read in any letter case: some runtimes send "HostPort".

import { type Fault, faultLine } from "../../config/fault.ts";
import { isJsonObject, quote, readFields } from "../../config/json_fields.ts";
import { type Address, addressBytes, addressFromBytes, familyOf, parseAddress } from "../../ip/address.ts";
import type { Family } from "../../ip/family.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import type { PluginConf } from "../plugin.ts";

export type Protocol = "tcp" | "udp" | "sctp";

export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: Protocol;
  /** Only packets to this address of the host; "0.0.0.0" and "::" are all of their family, undefined all of both. */
  readonly hostIp: Address | undefined;
}

export interface PortmapConf {
  readonly mappings: readonly PortMapping[];
  /** Whether packets of the host itself and of the container's own network are masqueraded. */
  readonly snat: boolean;
  /** Which bit of the packet's mark says that it is to be masqueraded. */
  readonly markMasqBit: number;
  /** A chain of somebody else's that marks packets for masquerading, instead of ours. */
  readonly externalSetMarkChain: string | undefined;
  /** Arguments of iptables that a packet must match as well. */
  readonly conditions: Readonly<Record<Family, readonly string[]>>;
}

const DEFAULT_MARK_BIT = 13;
const PORT = { type: "integer", min: 1, max: 65535, default: 0 } as const;
const FIELDS = {
  snat: { type: "boolean", default: true },
  // -1: not given, since it may not be given together with externalSetMarkChain.
  markMasqBit: { type: "integer", min: 0, max: 31, default: -1 },
  externalSetMarkChain: { type: "text", default: undefined },
  conditionsV4: { type: "list" },
  conditionsV6: { type: "list" },
  backend: { type: "text", default: undefined },
  runtimeConfig: { type: "object" },
} as const;
const MAPPING_FIELDS = {
  hostPort: PORT,
  containerPort: PORT,
  protocol: { type: "text", default: undefined },
  hostIP: { type: "text", default: undefined },
} as const;

/** What libcni adds, and what every plugin may be given. */
const KNOWN_TO_ALL = ["cniVersion", "cniVersions", "name", "type", "capabilities", "args", "prevResult", "dns", "ipam"];

/** Whether the built-in plugin does what `raw` asks; newer reference plugins know more keys (backend "nftables", masqAll). */
export function knowsKeys(raw: Readonly<Record<string, unknown>>): boolean {
  const known = new Set([...KNOWN_TO_ALL, ...Object.keys(FIELDS)].map((key) => key.toLowerCase()));
  return Object.entries(raw).every(
    ([key, value]) =>
      key.startsWith("cni.dev/") ||
      (known.has(key.toLowerCase()) && (key.toLowerCase() !== "backend" || isIptables(value))),
  );
}

/** Throws CniError with every fault. */
export function readPortmapConf({ raw }: PluginConf): PortmapConf {
  const faults: Fault[] = [];
  const read = readFields(raw, FIELDS, (name) => name, faults);
  const { markMasqBit, externalSetMarkChain, runtimeConfig } = read;
  if (externalSetMarkChain && markMasqBit >= 0) {
    const where = "externalSetMarkChain and markMasqBit";
    faults.push({ where, got: `${externalSetMarkChain} and ${markMasqBit}`, want: "one of them" });
  }
  if (externalSetMarkChain && !/^[^\s"]{1,28}$/.test(externalSetMarkChain)) {
    faults.push({ where: "externalSetMarkChain", got: quote(externalSetMarkChain), want: "the name of a chain" });
  }
  if (!isIptables(read.backend)) faults.push({ where: "backend", got: quote(read.backend), want: `"iptables"` });
  const conf = {
    mappings: readMappings(runtimeConfig, faults),
    snat: read.snat,
    markMasqBit: markMasqBit < 0 ? DEFAULT_MARK_BIT : markMasqBit,
    externalSetMarkChain: externalSetMarkChain || undefined,
    conditions: {
      ipv4: readConditions("conditionsV4", read.conditionsV4, faults),
      ipv6: readConditions("conditionsV6", read.conditionsV6, faults),
    },
  };
  if (faults.length > 0) throw new CniError(CNI_CODE.invalidConfig, `portmap: ${faults.map(faultLine).join("; ")}`);
  return conf;
}

/** Whether the runtime gave any: DEL has nothing to do without, and must not fail for a mapping that ADD refused. */
export function hasMappings({ raw }: PluginConf): boolean {
  const { runtimeConfig } = readFields(raw, { runtimeConfig: FIELDS.runtimeConfig }, (name) => name, []);
  return listOfMappings(runtimeConfig, []).length > 0;
}

function listOfMappings(runtimeConfig: Readonly<Record<string, unknown>> | undefined, faults: Fault[]) {
  const fields = { portMappings: { type: "list" } } as const;
  return readFields(runtimeConfig ?? {}, fields, (name) => `runtimeConfig.${name}`, faults).portMappings ?? [];
}

function readMappings(runtimeConfig: Readonly<Record<string, unknown>> | undefined, faults: Fault[]): PortMapping[] {
  return listOfMappings(runtimeConfig, faults).flatMap((entry, i) => {
    const where = (name: string) => `runtimeConfig.portMappings[${i}].${name}`;
    if (!isJsonObject(entry)) {
      faults.push({ where: where("hostPort"), got: quote(entry), want: "an object with hostPort and containerPort" });
      return [];
    }
    const read = readFields(entry, MAPPING_FIELDS, where, faults);
    for (const name of ["hostPort", "containerPort"] as const) {
      // A number that is wrong has been named already.
      if (read[name] === 0 && !Object.keys(entry).some((key) => key.toLowerCase() === name.toLowerCase())) {
        faults.push({ where: where(name), got: undefined, want: "a port, 1 to 65535" });
      }
    }
    const protocol = PROTOCOLS.find((known) => known === read.protocol?.toLowerCase());
    if (!protocol) {
      const got = read.protocol === undefined ? undefined : quote(read.protocol);
      faults.push({ where: where("protocol"), got, want: `one of ${PROTOCOLS.join(", ")}` });
    }
    const hostIp = read.hostIP ? plainAddress(read.hostIP) : undefined;
    if (read.hostIP && !hostIp) {
      faults.push({ where: where("hostIP"), got: quote(read.hostIP), want: "an IP address" });
    }
    return protocol ? [{ hostPort: read.hostPort, containerPort: read.containerPort, protocol, hostIp }] : [];
  });
}

const PROTOCOLS = ["tcp", "udp", "sctp"] as const;

/** An IPv4 address that is dressed as IPv6 (::ffff:192.0.2.1) is meant as IPv4. */
function plainAddress(text: string): Address | undefined {
  const address = parseAddress(text);
  if (!address || familyOf(address) === "ipv4") return address;
  const bytes = addressBytes(address);
  const dressed = bytes.subarray(0, 12).every((byte, i) => byte === (i < 10 ? 0 : 0xff));
  return dressed ? addressFromBytes(bytes.subarray(12)) : address;
}

function readConditions(where: string, list: readonly unknown[] | undefined, faults: Fault[]): string[] {
  return (list ?? []).flatMap((argument, i) => {
    // A line of iptables-restore cannot hold a line break, and must not: what follows it would be a line of its own.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
    if (typeof argument === "string" && argument !== "" && !/[\x00-\x1f]/.test(argument)) return [argument];
    faults.push({ where: `${where}[${i}]`, got: quote(argument), want: "an argument of iptables" });
    return [];
  });
}

function isIptables(backend: unknown): boolean {
  return backend === undefined || backend === null || backend === "" || backend === "iptables";
}
