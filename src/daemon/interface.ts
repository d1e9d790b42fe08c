// Which interface carries the overlay, and by which addresses: --iface, then --iface-regex, then --iface-can-reach, then the default route with the best
// metric. upstream: takes the first default route the kernel lists, whatever its metric.

import { ConfigError, type Fault } from "../config/fault.ts";
import { compileGoPattern } from "../config/go_pattern.ts";
import type { Address } from "../ip/address.ts";
import { type Family, familiesOf, type PerFamily } from "../ip/family.ts";
import { prefixAddress, prefixFamily } from "../ip/prefix.ts";
import { type AddressMessage, IFA_F_DADFAILED } from "../netlink/address.ts";
import { IFF_LOOPBACK, type LinkMessage } from "../netlink/link.ts";
import { type RouteMessage, RT_SCOPE_UNIVERSE } from "../netlink/route.ts";
import type { HostView } from "./host.ts";

export interface InterfaceWishes {
  /** Names or addresses, in order of preference. */
  readonly iface: readonly string[];
  /** Regular expressions, tried on addresses first, then on names. */
  readonly ifaceRegex: readonly string[];
  readonly ifaceCanReach: Address | undefined;
  readonly publicIp: PerFamily<Address>;
}

export interface RouteLookup {
  defaultRoutes(family: Family): readonly RouteMessage[];
  routeTo(address: Address): RouteMessage | undefined;
}

export interface ExternalInterface {
  readonly link: LinkMessage;
  readonly address: PerFamily<Address>;
  /** What the lease says: the address unless --public-ip or --public-ipv6 says otherwise. */
  readonly publicIp: PerFamily<Address>;
  /** Why this one, for the log. */
  readonly reason: string;
}

interface Choice {
  readonly link: LinkMessage;
  /** The address that was asked for by name. */
  readonly preferred?: Address | undefined;
  readonly reason: string;
}

/** Throws ConfigError naming the flag, and what there is to choose from. */
export function chooseInterface(
  wishes: InterfaceWishes,
  families: PerFamily<unknown>,
  host: HostView,
  routes: RouteLookup,
): ExternalInterface {
  const choice = choose(wishes, families, host, routes);
  const address: { -readonly [F in Family]?: Address } = {};
  const faults: Fault[] = [];
  for (const family of familiesOf(families)) {
    const own = addressOf(choice, family, host.addresses);
    if (own) address[family] = own;
    else {
      const got = `${choice.link.name} (${choice.reason}), which has none`;
      faults.push({ where: "external interface", got, want: `an interface with a global ${family} address` });
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return {
    link: choice.link,
    address,
    publicIp: { ...address, ...only(wishes.publicIp, families) },
    reason: choice.reason,
  };
}

function choose(wishes: InterfaceWishes, families: PerFamily<unknown>, host: HostView, routes: RouteLookup): Choice {
  for (const name of wishes.iface) {
    const found = byNameOrAddress(name, host);
    if (found) return { ...found, reason: `--iface=${name}` };
  }
  for (const text of wishes.ifaceRegex) {
    const found = byPattern(text, families, host);
    if (found) return { ...found, reason: `--iface-regex=${text}` };
  }
  if (wishes.iface.length > 0 || wishes.ifaceRegex.length > 0) {
    throw new ConfigError([
      ...wishes.iface.map((got) => ({ where: "--iface", got: `"${got}"`, want: present(host) })),
      ...wishes.ifaceRegex.map((got) => ({
        where: "--iface-regex",
        got: `"${got}"`,
        want: `a match in ${present(host)}`,
      })),
    ]);
  }
  return wishes.ifaceCanReach ? byReach(wishes.ifaceCanReach, host, routes) : byDefaultRoute(families, host, routes);
}

function byNameOrAddress(text: string, { links, addresses }: HostView): Omit<Choice, "reason"> | undefined {
  const link = links.find(({ name }) => name === text);
  if (link) return { link };
  const owner = addresses.find(({ address }) => prefixAddress(address) === text);
  const carrier = owner && links.find(({ index }) => index === owner.index);
  return carrier && { link: carrier, preferred: prefixAddress(owner.address) };
}

function byPattern(text: string, families: PerFamily<unknown>, host: HostView): Omit<Choice, "reason"> | undefined {
  const pattern = compileGoPattern(text);
  if (!pattern) return undefined;
  for (const { address, index } of host.addresses) {
    const link = host.links.find((candidate) => candidate.index === index);
    const own = prefixAddress(address);
    if (link && families[prefixFamily(address)] !== undefined && pattern.test(own)) return { link, preferred: own };
  }
  const link = host.links.find(({ name }) => pattern.test(name));
  return link && { link };
}

function byReach(address: Address, host: HostView, routes: RouteLookup): Choice {
  const route = routes.routeTo(address);
  const link = host.links.find(({ index }) => index === route?.oif);
  if (!link) {
    throw new ConfigError([
      { where: "--iface-can-reach", got: address, want: "an address that this host has a route to" },
    ]);
  }
  return { link, preferred: route?.prefsrc, reason: `--iface-can-reach=${address}` };
}

/** The best default route; with both families on, of those whose interface carries a default route of each. */
function byDefaultRoute(families: PerFamily<unknown>, host: HostView, routes: RouteLookup): Choice {
  const [first, ...others] = familiesOf(families);
  if (!first) throw new RangeError("Cannot choose an interface for no address family");
  const interfacesOf = (family: Family) => routes.defaultRoutes(family).flatMap(outgoing);
  const shared = others.map(interfacesOf);
  const index = interfacesOf(first).find((candidate) => shared.every((indexes) => indexes.includes(candidate)));
  const link = host.links.find((candidate) => candidate.index === index);
  if (!link) {
    const both =
      others.length > 0 ? "one interface with a default route in each of ipv4 and ipv6" : `a default route (${first})`;
    throw new ConfigError([
      { where: "external interface", got: undefined, want: `${both}, or --iface naming ${present(host)}` },
    ]);
  }
  return { link, reason: "default route" };
}

/** A multipath default route leaves by several. */
function outgoing({ oif, hops }: RouteMessage): number[] {
  return oif === undefined ? (hops ?? []).map((hop) => hop.oif) : [oif];
}

function addressOf(
  { link, preferred }: Choice,
  family: Family,
  addresses: readonly AddressMessage[],
): Address | undefined {
  const own = addresses.filter(
    ({ index, address, scope, flags }) =>
      index === link.index &&
      prefixFamily(address) === family &&
      scope === RT_SCOPE_UNIVERSE &&
      !(flags & IFA_F_DADFAILED),
  );
  const texts = own.map(({ address }) => prefixAddress(address));
  return texts.find((text) => text === preferred) ?? texts[0];
}

function only(values: PerFamily<Address>, families: PerFamily<unknown>): PerFamily<Address> {
  const { ipv4, ipv6 } = values;
  return {
    ...(ipv4 && families.ipv4 !== undefined && { ipv4 }),
    ...(ipv6 && families.ipv6 !== undefined && { ipv6 }),
  };
}

function present({ links, addresses }: HostView): string {
  const lines = links
    .filter(({ flags }) => !(flags & IFF_LOOPBACK))
    .map(({ name, index }) => {
      const own = addresses.filter((each) => each.index === index && each.scope === RT_SCOPE_UNIVERSE);
      return own.length === 0 ? name : `${name} (${own.map(({ address }) => prefixAddress(address)).join(", ")})`;
    });
  return lines.length === 0 ? "an interface; this host has none but loopback" : `one of ${lines.join(", ")}`;
}
