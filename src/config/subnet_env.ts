// subnet.env: what a node's subnet is, for the CNI plugin, mk-docker-opts.sh and flanneld's own next start. Shell assignments without quotes; keys, order
// and forms as upstream's, since scripts source the file.
//
// FLANNEL_SUBNET is the subnet with the address that the bridge gets (10.1.74.1/24), not the subnet itself (10.1.74.0/24).

import { FAMILIES, type Family, mapFamilies, type PerFamily } from "../ip/family.ts";
import {
  addressAt,
  makePrefix,
  networkOf,
  type Prefix,
  parsePrefix,
  prefixFamily,
  prefixLength,
} from "../ip/prefix.ts";

/** What flanneld writes. A family stands in the file when both its network and its subnet are there. */
export interface SubnetEnv {
  readonly network: PerFamily<Prefix>;
  /** Without host bits; the file spells the bridge's address. */
  readonly subnet: PerFamily<Prefix>;
  /** Bytes. */
  readonly mtu: number;
  readonly ipMasq: boolean;
}

/** What a file says, which need not be ours or whole: lists where a file may have several, and absent what it does not say. */
export interface SubnetFile {
  readonly networks: PerFamily<readonly Prefix[]>;
  /** Without host bits. */
  readonly subnets: PerFamily<readonly Prefix[]>;
  readonly mtu: number | undefined;
  readonly ipMasq: boolean | undefined;
  /** What could not be read, one line each. */
  readonly problems: readonly string[];
}

const KEYS: Record<Family, { readonly network: string; readonly subnet: string }> = {
  ipv4: { network: "FLANNEL_NETWORK", subnet: "FLANNEL_SUBNET" },
  ipv6: { network: "FLANNEL_IPV6_NETWORK", subnet: "FLANNEL_IPV6_SUBNET" },
};
const MTU = "FLANNEL_MTU";
const IP_MASQ = "FLANNEL_IPMASQ";

export function formatSubnetEnv({ network, subnet, mtu, ipMasq }: SubnetEnv): string {
  const lines: string[] = [];
  for (const family of FAMILIES) {
    const [whole, own] = [network[family], subnet[family]];
    if (!whole || !own) continue;
    const bridge = makePrefix(addressAt(networkOf(own), 1n), prefixLength(own));
    lines.push(`${KEYS[family].network}=${whole}`, `${KEYS[family].subnet}=${bridge}`);
  }
  lines.push(`${MTU}=${mtu}`, `${IP_MASQ}=${ipMasq}`);
  return `${lines.join("\n")}\n`;
}

/** Never throws: a value that does not parse is a problem, and absent. */
export function parseSubnetEnv(text: string): SubnetFile {
  const problems: string[] = [];
  const assigned = assignments(text, problems);
  const prefixes = (key: string, family: Family): readonly Prefix[] | undefined => {
    const found = new Set<Prefix>();
    for (const part of assigned.get(key)?.split(",") ?? []) {
      const prefix = parsePrefix(part.trim());
      if (prefix && prefixFamily(prefix) === family) found.add(networkOf(prefix));
      else problems.push(`${key}: got "${part}", want an ${family} prefix`);
    }
    return found.size > 0 ? [...found] : undefined;
  };
  const networks = mapFamilies(KEYS, ({ network }, family) => prefixes(network, family));
  const subnets = mapFamilies(KEYS, ({ subnet }, family) => prefixes(subnet, family));
  const mtuText = assigned.get(MTU);
  const mtu = mtuText !== undefined && /^[1-9][0-9]{0,4}$/.test(mtuText) ? Number(mtuText) : undefined;
  if (mtuText !== undefined && mtu === undefined) problems.push(`${MTU}: got "${mtuText}", want a number of bytes`);
  const masqText = assigned.get(IP_MASQ);
  // upstream: anything but "true" means false
  return { networks, subnets, mtu, ipMasq: masqText === undefined ? undefined : masqText === "true", problems };
}

/** The subnet and network that a node had before it started, as far as its file names exactly one of each. */
export function previousLease(file: SubnetFile): {
  readonly network: PerFamily<Prefix>;
  readonly subnet: PerFamily<Prefix>;
  readonly problems: readonly string[];
} {
  const problems = [...file.problems];
  const only = (key: "network" | "subnet") => (all: readonly Prefix[], family: Family) => {
    const [first, ...more] = all;
    if (more.length === 0) return first;
    problems.push(`${KEYS[family][key]}: got ${all.join(",")}, want one; ignored`);
    return undefined;
  };
  return {
    network: mapFamilies(file.networks, only("network")),
    subnet: mapFamilies(file.subnets, only("subnet")),
    problems,
  };
}

/** KEY=VALUE lines; quotes around a whole value are dropped as a shell would, in files written by hand. */
function assignments(text: string, problems: string[]): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split("\n").map((raw) => raw.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    const equals = line.indexOf("=");
    if (equals < 0) problems.push(`${JSON.stringify(line.slice(0, 80))}: want KEY=VALUE`);
    else values.set(line.slice(0, equals), line.slice(equals + 1).replace(/^(["'])(.*)\1$/, "$2"));
  }
  return values;
}
