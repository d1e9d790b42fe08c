// One family's part of the network configuration: how the network is cut into subnets, and which of them may be leased. Rules as upstream's, one body for
// both families.

import { addressNumber, familyOf, parseAddress } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";
import {
  containsAddress,
  isNetwork,
  makePrefix,
  networkOf,
  type Prefix,
  parsePrefix,
  prefixAddress,
  prefixFamily,
  prefixLength,
  subnetAfter,
} from "../ip/prefix.ts";
import { quote } from "./json_fields.ts";
import { type NetConfValues, RANGE_KEYS, type Remarks } from "./net_conf_fields.ts";
import type { SubnetRange } from "./network.ts";

interface Lengths {
  /** Bits of a node's subnet where the network has room for it. */
  readonly usual: number;
  /** A subnet has four addresses at least: the tunnel device's, the bridge's, and a pod's. */
  readonly longest: number;
  readonly example: string;
}

const LENGTHS: Record<Family, Lengths> = {
  ipv4: { usual: 24, longest: 30, example: "10.244.0.0/16" },
  ipv6: { usual: 64, longest: 126, example: "fd00:10:244::/48" },
};

/** The first subnet is not leased by default, so two would serve one node: a network is cut into four at least. */
const LEAST_SUBNET_BITS = 2;

/** The zero address is how upstream writes "the default". */
const DEFAULTS: readonly (string | undefined)[] = [undefined, "", "0.0.0.0", "::"];

/** The range of a family that is enabled; undefined after at least one `wrong`. */
export function readRange(family: Family, values: NetConfValues, remarks: Remarks): SubnetRange | undefined {
  const keys = RANGE_KEYS[family];
  const network = readNetwork(family, values, remarks);
  const subnetLength = network && readSubnetLength(family, network, values, remarks);
  if (!network || subnetLength === undefined) return undefined;

  const zeroth = makePrefix(prefixAddress(network), subnetLength);
  const count = 1n << BigInt(subnetLength - prefixLength(network));
  const bound = (key: typeof keys.min | typeof keys.max, fallback: bigint): Prefix | undefined => {
    const text = values[key];
    if (DEFAULTS.includes(text)) return subnetAfter(zeroth, fallback);
    const address = parseAddress(text ?? "");
    if (address && familyOf(address) === family && containsAddress(network, address)) {
      const subnet = makePrefix(address, subnetLength);
      if (isNetwork(subnet)) return subnet;
    }
    remarks.wrong(key, quote(text), `the first address of a /${subnetLength} in ${network}`);
    return undefined;
  };
  const first = bound(keys.min, 1n);
  const last = bound(keys.max, count - 1n);
  if (!first || !last) return undefined;
  if (addressNumber(prefixAddress(first)) > addressNumber(prefixAddress(last))) {
    remarks.wrong(keys.max, prefixAddress(last), `an address not before ${keys.min} ${prefixAddress(first)}`);
    return undefined;
  }
  return { network, subnetLength, first, last };
}

function readNetwork(family: Family, values: NetConfValues, remarks: Remarks): Prefix | undefined {
  const { enable, network: key } = RANGE_KEYS[family];
  const { example, longest } = LENGTHS[family];
  const text = values[key];
  const given = text === undefined ? undefined : parsePrefix(text);
  if (!given || prefixFamily(given) !== family) {
    const want = `${family === "ipv4" ? "an IPv4" : "an IPv6"} network such as ${quote(example)}, or ${enable} false`;
    remarks.wrong(key, text === undefined ? undefined : quote(text), want);
    return undefined;
  }
  const network = networkOf(given);
  if (prefixLength(network) > longest - LEAST_SUBNET_BITS) {
    remarks.wrong(key, network, `a network of /${longest - LEAST_SUBNET_BITS} or larger`);
    return undefined;
  }
  if (network !== given) remarks.warn(key, `${given} has host bits set; it is taken as ${network}`);
  return network;
}

function readSubnetLength(
  family: Family,
  network: Prefix,
  values: NetConfValues,
  remarks: Remarks,
): number | undefined {
  const { length: key } = RANGE_KEYS[family];
  const { usual, longest } = LENGTHS[family];
  const shortest = prefixLength(network) + LEAST_SUBNET_BITS;
  const given = values[key];
  if (given === 0) return Math.max(usual, shortest);
  if (given >= shortest && given <= longest) return given;
  remarks.wrong(key, String(given), `${shortest} to ${longest}, since ${network} must hold at least four subnets`);
  return undefined;
}
