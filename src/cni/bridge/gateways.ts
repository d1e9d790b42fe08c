// What the addresses that IPAM gave mean for the bridge and for the container: the bridge's own addresses and the container's routes. Pure; the rules are
// the reference plugin's.

import { type Address, familyOf, parseAddress } from "../../ip/address.ts";
import type { Family, PerFamily } from "../../ip/family.ts";
import {
  addressAt,
  makePrefix,
  networkOf,
  type Prefix,
  parsePrefix,
  prefixFamily,
  prefixLength,
} from "../../ip/prefix.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import type { Result, ResultIp, ResultRoute } from "../result.ts";
import type { BridgeConf } from "./conf.ts";

/** Index of the container's interface among the interfaces of the result: bridge, host's end, container's end. */
const CONTAINER = 2;
const DEFAULT: Readonly<Record<Family, string>> = { ipv4: "0.0.0.0/0", ipv6: "::/0" };

export interface Addressing {
  readonly ips: readonly ResultIp[];
  readonly routes: readonly ResultRoute[];
  /** The container's addresses, parsed. */
  readonly addresses: readonly Prefix[];
  /** For the bridge, IPv4 first: each gateway with the length of its subnet. */
  readonly gateways: readonly Prefix[];
  /** Where routes without a gateway of their own go: the first gateway of each family. */
  readonly through: PerFamily<Address>;
}

export function addressingOf(result: Result, conf: BridgeConf): Addressing {
  if (result.ips.length === 0) throw new CniError(CNI_CODE.internal, "IPAM plugin returned missing IP config");
  const ips: ResultIp[] = [];
  const routes = [...result.routes];
  const addresses: Prefix[] = [];
  const gateways: Record<Family, Prefix[]> = { ipv4: [], ipv6: [] };
  const through: { ipv4?: Address; ipv6?: Address } = {};
  for (const ip of result.ips) {
    const address = parsePrefix(ip.address);
    const given = ip.gateway === undefined ? undefined : parseAddress(ip.gateway);
    if (!address || (ip.gateway !== undefined && !given)) {
      throw new CniError(
        CNI_CODE.internal,
        `cannot use what IPAM answered: got ${JSON.stringify(ip)}, want an address with its length`,
      );
    }
    const family = prefixFamily(address);
    const gateway = given ?? (conf.isGateway ? addressAt(networkOf(address), 1n) : undefined);
    addresses.push(address);
    ips.push({ ...ip, interface: CONTAINER, ...(gateway && { gateway }) });
    if (!gateway) continue;
    through[familyOf(gateway)] ??= gateway;
    if (conf.isGateway) gateways[family].push(makePrefix(gateway, prefixLength(address)));
    if (conf.isDefaultGateway && !hasDefault(routes, family)) routes.push({ dst: DEFAULT[family], gw: gateway });
  }
  return { ips, routes, addresses, gateways: [...gateways.ipv4, ...gateways.ipv6], through };
}

/** Whether a default route names its gateway; one that does not is no reason to leave out ours. */
function hasDefault(routes: readonly ResultRoute[], family: Family): boolean {
  for (const { dst, gw } of routes) if (dst === DEFAULT[family] && gw !== undefined) return true;
  return false;
}
