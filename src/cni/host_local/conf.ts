// The configuration of host-local: the key `ipam` of the plugin that uses it, and what the runtime adds by arguments and capabilities. Forms and precedence
// are the reference plugin's.

import { type Address, parseAddress } from "../../ip/address.ts";
import { parsePrefix } from "../../ip/prefix.ts";
import { readCniArgs } from "../cni_args.ts";
import {
  addFault,
  isRaw,
  listField,
  numberField,
  objectField,
  type Raw,
  textField,
  throwFaults,
} from "../conf_fields.ts";
import type { PluginConf } from "../plugin.ts";
import type { ResultRoute } from "../result.ts";
import { type RangeSet, readRange, readRangeSet, setsOverlap } from "./range.ts";
import { directoryOf } from "./store.ts";

const DEFAULT_DATA_DIR = "/var/lib/cni/networks";
/** Versions whose result has one address of each family at most. */
const ONE_PER_FAMILY = ["0.1.0", "0.2.0"];
const IPAM_KEYS = ["type", "ranges", "subnet", "rangeStart", "rangeEnd", "gateway", "routes", "dataDir", "resolvConf"];
const ROUTE_NUMBERS = ["mtu", "advmss", "priority", "table", "scope"] as const;

export interface HostLocalConf {
  /** Where the files of this network are. */
  readonly directory: string;
  readonly sets: readonly RangeSet[];
  readonly routes: readonly ResultRoute[];
  readonly resolvConf: string | undefined;
  /** Addresses that the container is to have. */
  readonly requested: readonly Address[];
}

/** Whether host-local is all that a configuration's `ipam` asks for. */
export function knowsKeys(raw: Raw): boolean {
  return isRaw(raw.ipam) && Object.keys(raw.ipam).every((key) => IPAM_KEYS.includes(key));
}

/** What DEL and GC need, whatever is wrong with the rest. */
export function readDirectory({ name, raw }: PluginConf): string {
  const faults: string[] = [];
  const dataDir = textField(objectField(raw, "ipam", faults), "dataDir", faults, "ipam.dataDir");
  throwFaults("host-local", faults);
  return directoryOf(dataDir || DEFAULT_DATA_DIR, name);
}

/** Throws CniError that names all that is wrong. */
export function readHostLocalConf(conf: PluginConf, args: string): HostLocalConf {
  const faults: string[] = [];
  const ipam = objectField(conf.raw, "ipam", faults);
  const runtime = objectField(conf.raw, "runtimeConfig", faults);
  const sets = readSets(ipam, runtime, faults);
  if (sets.length === 0 && faults.length === 0) faults.push("ipam.ranges: no IP ranges specified");
  if (ONE_PER_FAMILY.includes(conf.cniVersion)) {
    for (const family of ["ipv4", "ipv6"] as const) {
      if (sets.filter((set) => set[0]?.family === family).length < 2) continue;
      faults.push(`CNI version ${conf.cniVersion} does not support more than 1 address per family`);
    }
  }
  for (const [i, set] of sets.entries()) {
    const other = sets.findIndex((earlier, j) => j < i && setsOverlap(earlier, set));
    if (other >= 0) faults.push(`range set ${i} overlaps with ${other}`);
  }
  const cni = objectField(objectField(conf.raw, "args", faults), "cni", faults, "args.cni");
  const { IP } = readCniArgs(args, ["IP", "GATEWAY"]);
  const asked: [string, unknown][] = [
    ...(IP ? [["CNI_ARGS IP", IP] as [string, unknown]] : []),
    ...listField(cni, "ips", faults, "args.cni.ips").map((ip): [string, unknown] => ["args.cni.ips", ip]),
    ...listField(runtime, "ips", faults, "runtimeConfig.ips").map((ip): [string, unknown] => ["runtimeConfig.ips", ip]),
  ];
  const requested = asked.flatMap(([path, ip]) => readRequested(ip, path, faults));
  const routes = listField(ipam, "routes", faults, "ipam.routes").flatMap((route, i) =>
    readRoute(route, `ipam.routes[${i}]`, faults),
  );
  const resolvConf = textField(ipam, "resolvConf", faults, "ipam.resolvConf") || undefined;
  throwFaults("host-local", faults);
  return { directory: readDirectory(conf), sets, routes, resolvConf, requested };
}

/** In the order in which addresses are given out of them: the runtime's, the one of the old form, those of the list. */
function readSets(ipam: Raw, runtime: Raw, faults: string[]): RangeSet[] {
  const listed = (raw: Raw, key: string, path: string) =>
    listField(raw, key, faults, path).map((value, i) => readRangeSet(value, `${path}[${i}]`, faults));
  const hasOldForm = ipam.subnet !== undefined && ipam.subnet !== null && ipam.subnet !== "";
  const old = hasOldForm ? readRange(ipam, "ipam", faults) : undefined;
  return [
    ...listed(runtime, "ipRanges", "runtimeConfig.ipRanges"),
    ...(old ? [[old]] : []),
    ...listed(ipam, "ranges", "ipam.ranges"),
  ];
}

/** "10.5.1.7", or with the length of its subnet, which is not looked at. */
function readRequested(value: unknown, path: string, faults: string[]): Address[] {
  const address = typeof value === "string" ? parseAddress(value.replace(/\/\d+$/, "")) : undefined;
  if (!address) addFault(faults, path, value, "an address");
  return address ? [address] : [];
}

function readRoute(value: unknown, path: string, faults: string[]): ResultRoute[] {
  if (!isRaw(value)) {
    addFault(faults, path, value, 'a route as {"dst": "10.5.0.0/16"}');
    return [];
  }
  const dstText = textField(value, "dst", faults, `${path}.dst`);
  const dst = parsePrefix(dstText ?? "");
  if (!dst) addFault(faults, `${path}.dst`, dstText ?? null, 'a prefix as "10.5.0.0/16"');
  const gwText = textField(value, "gw", faults, `${path}.gw`) || undefined;
  const gw = gwText === undefined ? undefined : parseAddress(gwText);
  if (gwText !== undefined && !gw) addFault(faults, `${path}.gw`, gwText, "an address");
  const numbers: { -readonly [K in (typeof ROUTE_NUMBERS)[number]]?: number } = {};
  for (const key of ROUTE_NUMBERS) {
    const number = numberField(value, key, faults, `${path}.${key}`);
    if (number !== undefined) numbers[key] = number;
  }
  return dst ? [{ dst, ...(gw && { gw }), ...numbers }] : [];
}
