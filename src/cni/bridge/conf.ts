// The configuration of the plugin `bridge`, as the reference plugin has it (containernetworking/plugins, plugins/main/bridge), less what goes beyond a plain
// bridge: VLANs, port isolation and the check of MACs are left to that plugin, which knowsKeys tells.

import { type Mac, parseMac } from "../../ip/mac.ts";
import { readCniArgs } from "../cni_args.ts";
import {
  addFault,
  booleanField,
  KEYS_OF_ALL,
  numberField,
  objectField,
  type Raw,
  textField,
  textListField,
  throwFaults,
} from "../conf_fields.ts";
import type { PluginConf } from "../plugin.ts";
import type { ResultDns } from "../result.ts";

const DEFAULT_BRIDGE = "cni0";

const KEYS = [
  ...KEYS_OF_ALL,
  ...["bridge", "isGateway", "isDefaultGateway", "forceAddress", "ipMasq", "mtu", "hairpinMode", "promiscMode"],
];
/** Known as long as they ask for nothing. */
const IDLE: Readonly<Record<string, readonly unknown[]>> = {
  vlan: [0],
  macspoofchk: [false],
  enabledad: [false],
  preserveDefaultVlan: [true, false],
  disableContainerInterface: [false],
  portIsolation: [false],
  ipMasqBackend: ["", "iptables"],
};

export interface BridgeConf {
  readonly bridge: string;
  /** Whether the bridge has the address that is the containers' gateway. */
  readonly isGateway: boolean;
  /** Whether containers have a default route through it. */
  readonly isDefaultGateway: boolean;
  readonly forceAddress: boolean;
  readonly masquerade: boolean;
  /** Bytes; the kernel's choice when absent. */
  readonly mtu: number | undefined;
  readonly hairpin: boolean;
  readonly promiscuous: boolean;
  /** The container's, when somebody asked for one. */
  readonly mac: Mac | undefined;
  /** undefined: links without addresses. */
  readonly ipam: string | undefined;
  /** undefined: what the IPAM plugin says. */
  readonly dns: ResultDns | undefined;
}

/** Whether the built-in bridge does all that a configuration asks for. */
export function knowsKeys(raw: Raw): boolean {
  for (const key of Object.keys(raw)) {
    const idle = IDLE[key];
    if (!KEYS.includes(key) && !idle?.includes(raw[key] ?? idle[0])) return false;
  }
  return true;
}

/** What DEL and GC need, whatever is wrong with the rest. */
export function readUndoConf({ raw }: PluginConf): Pick<BridgeConf, "ipam" | "masquerade"> {
  const faults: string[] = [];
  const ipam = readIpam(raw, faults);
  const masquerade = booleanField(raw, "ipMasq", faults);
  throwFaults("bridge", faults);
  return { ipam, masquerade };
}

/** Throws CniError that names all that is wrong. */
export function readBridgeConf({ raw }: PluginConf, args: string): BridgeConf {
  const faults: string[] = [];
  const isDefaultGateway = booleanField(raw, "isDefaultGateway", faults);
  const conf: BridgeConf = {
    bridge: textField(raw, "bridge", faults) || DEFAULT_BRIDGE,
    isGateway: booleanField(raw, "isGateway", faults) || isDefaultGateway,
    isDefaultGateway,
    forceAddress: booleanField(raw, "forceAddress", faults),
    masquerade: booleanField(raw, "ipMasq", faults),
    mtu: numberField(raw, "mtu", faults) || undefined,
    hairpin: booleanField(raw, "hairpinMode", faults),
    promiscuous: booleanField(raw, "promiscMode", faults),
    mac: readMac(raw, args, faults),
    ipam: readIpam(raw, faults),
    dns: readDns(raw, faults),
  };
  if (conf.hairpin && conf.promiscuous) {
    faults.push("cannot set hairpin mode and promiscuous mode at the same time; leave out hairpinMode or promiscMode");
  }
  for (const [key, idle] of Object.entries(IDLE)) {
    if (idle.includes(raw[key] ?? idle[0])) continue;
    addFault(faults, key, raw[key], `${JSON.stringify(idle[0])} or nothing: the built-in bridge does not implement it`);
  }
  throwFaults("bridge", faults);
  return conf;
}

function readIpam(raw: Raw, faults: string[]): string | undefined {
  return textField(objectField(raw, "ipam", faults), "type", faults, "ipam.type") || undefined;
}

/** The runtime's capability wins over `args`, and that over CNI_ARGS. */
function readMac(raw: Raw, args: string, faults: string[]): Mac | undefined {
  const cni = objectField(objectField(raw, "args", faults), "cni", faults, "args.cni");
  const runtime = objectField(raw, "runtimeConfig", faults);
  return (
    parsedMac(textField(runtime, "mac", faults, "runtimeConfig.mac"), "runtimeConfig.mac", faults) ??
    parsedMac(textField(cni, "mac", faults, "args.cni.mac"), "args.cni.mac", faults) ??
    parsedMac(readCniArgs(args, ["MAC"]).MAC, "CNI_ARGS MAC", faults)
  );
}

function parsedMac(text: string | undefined, path: string, faults: string[]): Mac | undefined {
  const mac = text ? parseMac(text) : undefined;
  if (text && !mac) addFault(faults, path, text, 'a MAC as "0a:58:0a:05:01:02"');
  return mac;
}

function readDns(raw: Raw, faults: string[]): ResultDns | undefined {
  const dns = objectField(raw, "dns", faults);
  const list = (key: string) => textListField(dns, key, faults, `dns.${key}`);
  const [nameservers, search, options] = [list("nameservers"), list("search"), list("options")];
  const domain = textField(dns, "domain", faults, "dns.domain") || undefined;
  const given: ResultDns = {
    ...(nameservers.length > 0 && { nameservers }),
    ...(domain !== undefined && { domain }),
    ...(search.length > 0 && { search }),
    ...(options.length > 0 && { options }),
  };
  return Object.keys(given).length > 0 ? given : undefined;
}
