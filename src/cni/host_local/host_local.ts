// The IPAM plugin `host-local`: addresses out of ranges that this node has to itself, remembered in files (store.ts). Configuration, order, results and
// files are those of the reference plugin; GC and STATUS, which it lacks, are the specification's (CNI 1.1.0).

import type { Address } from "../../ip/address.ts";
import { prefixLength } from "../../ip/prefix.ts";
import { readText } from "../../sys/file.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import type { Attachment, Plugin, PluginConf } from "../plugin.ts";
import type { Result, ResultIp } from "../result.ts";
import { type Free, nextFree } from "./allocate.ts";
import { type HostLocalConf, readDirectory, readHostLocalConf } from "./conf.ts";
import { capacityOf, type RangeSet, rangeOf, setText } from "./range.ts";
import { parseResolvConf } from "./resolv_conf.ts";
import { holderText, readReservations, Store } from "./store.ts";

export const hostLocal: Plugin = {
  type: "host-local",
  async add({ call, conf }) {
    return allocate(readHostLocalConf(conf, call.args), call);
  },

  async del({ call, conf }) {
    using store = Store.openExisting(readDirectory(conf));
    if (!store) return;
    for (const address of store.heldBy(call)) store.release(address);
    store.tidy();
  },

  async check({ call, conf }) {
    using store = Store.openExisting(readDirectory(conf));
    if (store && store.heldBy(call).length > 0) return;
    throw new CniError(
      CNI_CODE.internal,
      `host-local: Failed to find address added by container ${call.containerId}: no file in ${readDirectory(conf)} names it with ${call.ifname}`,
    );
  },

  async status({ call, conf }) {
    checkRoom(conf, call.args);
  },

  async gc({ conf }, valid) {
    using store = Store.openExisting(readDirectory(conf));
    if (!store) return;
    const holders = new Set(valid.flatMap(({ containerId, ifname }) => [holderText(containerId, ifname), containerId]));
    for (const { address, holder } of store.reservations()) if (!holders.has(holder)) store.release(address);
    store.tidy();
  },
};

/** One address out of every range set, or none at all. */
function allocate(conf: HostLocalConf, attachment: Attachment): Result {
  const { directory, sets, requested, routes, resolvConf } = conf;
  const dns = resolvConf === undefined ? {} : parseResolvConf(readResolvConf(resolvConf));
  const wanted = requested.length > 0 ? wantedIn(sets, requested) : [];
  using store = Store.open(directory);
  const held = store.heldBy(attachment);
  const chosen: Free[] = [];
  for (const [i, set] of sets.entries()) {
    const address = wanted[i];
    try {
      chosen.push(address ? requestedIn(set, address, store) : freeIn(set, i, store, held, attachment, directory));
    } catch (error) {
      if (!(error instanceof CniError)) throw error;
      throw new CniError(error.code, `failed to allocate for range ${i}: ${error.message}`, error.details);
    }
  }
  const ips: ResultIp[] = [];
  try {
    for (const [i, { address, range }] of chosen.entries()) {
      store.reserve(address, attachment, i);
      ips.push({ address: `${address}/${prefixLength(range.subnet)}`, gateway: range.gateway });
    }
  } catch (error) {
    for (const { address } of chosen.slice(0, ips.length + 1)) store.release(address);
    throw error;
  }
  return { interfaces: [], ips, routes, dns };
}

/** For each set the requested address that is in it. Each must be in one, and none in the same as another. */
function wantedIn(sets: readonly RangeSet[], requested: readonly Address[]): (Address | undefined)[] {
  const wanted = sets.map((set) => requested.find((address) => rangeOf(set, address)));
  const left = requested.filter((address) => !wanted.includes(address));
  if (left.length === 0) return wanted;
  throw new CniError(
    CNI_CODE.internal,
    `failed to allocate all requested IPs: ${left.join(" ")}; want at most one in each of ${sets.map(setText).join(" and ")}`,
  );
}

function requestedIn(set: RangeSet, address: Address, store: Store): Free {
  const range = rangeOf(set, address);
  if (!range || range.gateway === address) {
    throw new CniError(CNI_CODE.internal, `requested ip ${address} is subnet's gateway`);
  }
  if (store.isTaken(address)) {
    const message = `requested IP address ${address} is not available in range set ${setText(set)}`;
    throw new CniError(CNI_CODE.internal, message);
  }
  return { address, range };
}

function freeIn(
  set: RangeSet,
  index: number,
  store: Store,
  held: readonly Address[],
  { containerId }: Attachment,
  directory: string,
): Free {
  for (const own of held) {
    if (!rangeOf(set, own)) continue;
    const message = `${own} has been allocated to ${containerId}, duplicate allocation is not allowed`;
    throw new CniError(CNI_CODE.internal, message);
  }
  const free = nextFree(set, store.lastReserved(index), (address) => store.isTaken(address));
  if (!free) throw new CniError(CNI_CODE.internal, fullText(set, directory));
  return free;
}

/** STATUS: throws when an ADD would find a range set full. Takes no lock, which a moment's picture would not be worth. */
function checkRoom(conf: PluginConf, args: string): void {
  const { sets, directory } = readHostLocalConf(conf, args);
  const reservations = readReservations(directory).filter(({ holder }) => holder !== "");
  const taken = new Set(reservations.map(({ address }) => address));
  const full = sets.filter((set) => !nextFree(set, undefined, (address) => taken.has(address)));
  if (full.length === 0) return;
  throw new CniError(CNI_CODE.notAvailable, full.map((set) => fullText(set, directory)).join("; "));
}

function fullText(set: RangeSet, directory: string): string {
  return (
    `no IP addresses available in range set: ${setText(set)}; all ${capacityOf(set)} are taken, one file each in ${directory}; ` +
    '"flannelctl ipam gc" frees those whose containers are gone'
  );
}

function readResolvConf(path: string): string {
  try {
    return readText(path);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new CniError(CNI_CODE.io, `cannot read ipam.resolvConf ${path}: ${cause}`);
  }
}
