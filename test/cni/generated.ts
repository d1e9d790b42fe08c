// Configurations of bridge with host-local, made by chance from a number, so that a failure names the one that shows it.

import type { Json } from "./runtime.ts";

const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];

export interface Generated {
  readonly conf: Json;
  /** CNI_ARGS. */
  readonly args: string | undefined;
  readonly pods: number;
}

/** mulberry32: small, and the same on every machine. */
function chanceFrom(seed: number) {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    one: <T>(choices: readonly T[]): T => choices[below(choices.length)] as T,
    /** true in one of `n` cases. */
    oneIn: (n: number) => below(n) === 0,
  };
}

type Chance = ReturnType<typeof chanceFrom>;

/** A subnet and the addresses in it by their place. */
interface Subnet {
  readonly subnet: string;
  readonly size: number;
  at(place: number): string;
}

function ipv4Subnet(chance: Chance, index: number): Subnet {
  const length = chance.one([24, 24, 24, 25, 26, 27, 28, 29, 22]);
  const third = 4 * chance.below(60);
  const at = (place: number) => `10.${100 + index}.${third + (place >> 8)}.${place & 255}`;
  return { subnet: `${at(0)}/${length}`, size: 2 ** (32 - length), at };
}

function ipv6Subnet(chance: Chance, index: number): Subnet {
  const length = chance.one([64, 64, 112, 120]);
  const at = (place: number) =>
    `fd00:${100 + index}:${chance.one(["0", "0"])}:1::${place === 0 ? "" : place.toString(16)}`;
  return { subnet: `${at(0)}/${length}`, size: 2 ** Math.min(128 - length, 16), at };
}

function range(chance: Chance, subnet: Subnet): Json {
  const result: Json = { subnet: subnet.subnet };
  const middle = Math.floor(subnet.size / 2);
  if (chance.oneIn(3)) result.rangeStart = subnet.at(2 + chance.below(middle - 2));
  if (chance.oneIn(3)) result.rangeEnd = subnet.at(middle + 1 + chance.below(middle - 2));
  if (chance.oneIn(4)) result.gateway = subnet.at(1 + chance.below(subnet.size - 2));
  return result;
}

/** `directory` is where host-local keeps its files, `bridge` what the bridge is called. */
export function generate(seed: number, directory: string, bridge: string): Generated {
  const chance = chanceFrom(seed);
  const cniVersion = chance.one(VERSIONS);
  const old = cniVersion < "0.3.0";
  const families = chance.one(["4", "4", "4", "6", "46", "46", ...(old ? [] : ["44", "446"])]);
  const subnets = [...families].map((family, i) => (family === "4" ? ipv4Subnet(chance, i) : ipv6Subnet(chance, i)));
  const sets = subnets.map((subnet, i) => {
    const first = range(chance, subnet);
    const second = families[i] === "4" && chance.oneIn(6) ? [range(chance, ipv4Subnet(chance, 50 + i))] : [];
    return [first, ...second];
  });
  const ipam: Json = { type: "host-local", dataDir: directory };
  const [single] = sets;
  if (sets.length === 1 && single?.length === 1 && chance.oneIn(2)) Object.assign(ipam, single[0]);
  else ipam.ranges = sets;
  if (!chance.oneIn(3)) ipam.routes = routes(chance, families, subnets);
  const conf: Json = { cniVersion, name: `net${seed}`, type: "bridge", bridge, ipam };
  const gateway = chance.below(3);
  if (gateway === 1) conf.isGateway = true;
  if (gateway === 2) conf.isDefaultGateway = true;
  const mode = chance.below(4);
  if (mode === 1) conf.hairpinMode = true;
  if (mode === 2) conf.promiscMode = true;
  if (chance.oneIn(2)) conf.mtu = chance.one([0, 1280, 1400, 1450, 9000]);
  if (chance.oneIn(3)) conf.forceAddress = true;
  // The reference cannot remove the rules of two addresses of one family: it fails at the first.
  if (chance.oneIn(8) && !families.startsWith("44")) conf.ipMasq = true;
  if (chance.oneIn(5)) conf.dns = { nameservers: ["10.96.0.10"], search: ["svc.cluster.local"], options: ["ndots:5"] };
  if (chance.oneIn(25) && !old) delete conf.ipam;
  const args = asked(chance, conf, subnets, sets);
  // What is asked for can be had once; a bridge without an address of its own has the lowest MAC of its ports, which is chance.
  const pods = gateway === 0 || args.once || !conf.ipam ? 1 : 1 + chance.below(3);
  return { conf, args: args.text, pods };
}

function routes(chance: Chance, families: string, subnets: readonly Subnet[]): Json[] {
  const list: Json[] = [];
  const first = families.indexOf("4");
  const sixth = families.indexOf("6");
  if (first >= 0) list.push({ dst: "10.0.0.0/8" });
  if (first >= 0 && chance.oneIn(2)) list.push({ dst: "192.168.0.0/16", gw: subnets[first]?.at(3) });
  if (first >= 0 && chance.oneIn(3)) list.push({ dst: "0.0.0.0/0", gw: subnets[first]?.at(4) });
  if (sixth >= 0) list.push({ dst: "fd00::/16" });
  if (sixth >= 0 && chance.oneIn(3)) list.push({ dst: "2001:db8::/32", gw: subnets[sixth]?.at(5) });
  if (sixth >= 0 && chance.oneIn(3)) list.push({ dst: "::/0" });
  return list.filter(() => !chance.oneIn(4));
}

/** Addresses and MACs by arguments and capabilities, in the ways there are. */
function asked(
  chance: Chance,
  conf: Json,
  subnets: readonly Subnet[],
  sets: readonly Json[][],
): { text?: string; once: boolean } {
  const pairs: string[] = [];
  let once = false;
  if (conf.ipam && chance.oneIn(4)) {
    once = true;
    const places = sets.map(
      (set, i) => subnets[i]?.at(chance.oneIn(8) ? 1 : Math.floor((subnets[i]?.size ?? 0) / 2)) ?? set,
    );
    const way = chance.below(3);
    if (way === 0) pairs.push(`IP=${places[0]}`);
    if (way === 1) conf.args = { cni: { ips: places } };
    if (way === 2) conf.runtimeConfig = { ips: places.map((ip) => (chance.oneIn(2) ? ip : `${ip}/24`)) };
  }
  if (chance.oneIn(8)) {
    once = true;
    const way = chance.below(3);
    const mac = "0a:58:0a:05:01:02";
    if (way === 0) pairs.push(`MAC=${mac}`);
    if (way === 1) conf.args = { cni: { ...conf.args?.cni, mac } };
    if (way === 2) conf.runtimeConfig = { ...conf.runtimeConfig, mac };
  }
  if (pairs.length > 0) pairs.push("IgnoreUnknown=1", "K8S_POD_NAME=a");
  return { ...(pairs.length > 0 && { text: pairs.join(";") }), once };
}
