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
  if (!isRaw(raw.ipam)) return false;
  for (const key of Object.keys(raw.ipam)) if (!IPAM_KEYS.includes(key)) return false;
  return true;
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
  checkSets(sets, conf.cniVersion, faults);
  const cni = objectField(objectField(conf.raw, "args", faults), "cni", faults, "args.cni");
  const { IP } = readCniArgs(args, ["IP", "GATEWAY"]);
  const requested: Address[] = [];
  if (IP) readRequested(IP, "CNI_ARGS IP", requested, faults);
  for (const ip of listField(cni, "ips", faults, "args.cni.ips")) readRequested(ip, "args.cni.ips", requested, faults);
  for (const ip of listField(runtime, "ips", faults, "runtimeConfig.ips")) {
    readRequested(ip, "runtimeConfig.ips", requested, faults);
  }
  const routes: ResultRoute[] = [];
  for (const [i, value] of listField(ipam, "routes", faults, "ipam.routes").entries()) {
    const route = readRoute(value, `ipam.routes[${i}]`, faults);
    if (route) routes.push(route);
  }
  const resolvConf = textField(ipam, "resolvConf", faults, "ipam.resolvConf") || undefined;
  throwFaults("host-local", faults);
  return { directory: readDirectory(conf), sets, routes, resolvConf, requested };
}

/** In the order in which addresses are given out of them: the runtime's, the one of the old form, those of the list. */
function readSets(ipam: Raw, runtime: Raw, faults: string[]): RangeSet[] {
  const sets: RangeSet[] = [];
  const addListed = (raw: Raw, key: string, path: string) => {
    for (const [i, value] of listField(raw, key, faults, path).entries()) {
      sets.push(readRangeSet(value, `${path}[${i}]`, faults));
    }
  };
  addListed(runtime, "ipRanges", "runtimeConfig.ipRanges");
  const hasOldForm = ipam.subnet !== undefined && ipam.subnet !== null && ipam.subnet !== "";
  const old = hasOldForm ? readRange(ipam, "ipam", faults) : undefined;
  if (old) sets.push([old]);
  addListed(ipam, "ranges", "ipam.ranges");
  return sets;
}

function checkSets(sets: readonly RangeSet[], cniVersion: string, faults: string[]): void {
  for (const [i, set] of sets.entries()) {
    for (const [j, other] of sets.entries()) {
      if (j >= i) break;
      if (setsOverlap(set, other)) faults.push(`range set ${i} overlaps with ${j}`);
      else if (set[0]?.family === other[0]?.family && ONE_PER_FAMILY.includes(cniVersion)) {
        faults.push(`CNI version ${cniVersion} does not support more than 1 address per family`);
      }
    }
  }
}

/** "10.5.1.7", or with the length of its subnet, which is not looked at. */
function readRequested(value: unknown, path: string, requested: Address[], faults: string[]): void {
  const address = typeof value === "string" ? parseAddress(value.replace(/\/\d+$/, "")) : undefined;
  if (address) requested.push(address);
  else addFault(faults, path, value, "an address");
}

function readRoute(value: unknown, path: string, faults: string[]): ResultRoute | undefined {
  if (!isRaw(value)) {
    addFault(faults, path, value, 'a route as {"dst": "10.5.0.0/16"}');
    return undefined;
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
  return dst ? { dst, ...(gw && { gw }), ...numbers } : undefined;
}
