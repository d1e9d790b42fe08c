// What rtnetlink's messages say about our objects: the one way into the mirror, for dumps and notifications alike.
//
// Linux is silent in places. When a link goes down, loses an address or a nexthop goes, IPv4 routes (and nexthop objects of the link) go without a message of
// their own; such news puts routes and nexthops in doubt, and they are dumped again. The news is sent before the flush it announces, so the dump
// must come after something that waited for the same lock (rtnetlink.ts).

import { isUnicastMac } from "../ip/mac.ts";
import type { AddressMessage } from "../netlink/address.ts";
import type { FdbMessage } from "../netlink/fdb.ts";
import { IFF_LOWER_UP, IFF_UP, type LinkMessage } from "../netlink/link.ts";
import { type NeighbourMessage, NUD_PERMANENT } from "../netlink/neighbour.ts";
import { type NexthopMessage, RTNH_F_ONLINK } from "../netlink/nexthop.ts";
import { type RouteMessage, RT_TABLE_MAIN, RTN_BLACKHOLE, RTN_UNICAST } from "../netlink/route.ts";
import { type KernelObject, type ObjectKind, objectKey } from "../state/object.ts";
import { BLACKHOLE_METRIC, ROUTE_PROTOCOL } from "../state/print.ts";
import { bearsOnLink, type External } from "./external.ts";
import { LinkTable, linkFromMessage } from "./links.ts";
import type { Mirror } from "./mirror.ts";
import type { NexthopIds } from "./nexthop_ids.ts";
import { insideNetwork, isLinkLocal, isOurNexthop, isOurRoute, type Ownership } from "./ownership.ts";

const ON_A_LINK: readonly ObjectKind[] = ["up", "address", "neighbour", "fdb", "nexthop", "route"];
/** The metric that IPv6 gives a route without one. */
export const IP6_DEFAULT_METRIC = 1024;

export class Observer {
  readonly links = new LinkTable();
  readonly #mirror: Mirror;
  readonly #ownership: Ownership;
  readonly #ids: NexthopIds;
  readonly #doubt: (...kinds: ObjectKind[]) => void;
  readonly #onLinkGone: (name: string) => void;
  /** Who carries what has no device of ours; looked at as far as that needs. */
  external: External | undefined;

  constructor(
    mirror: Mirror,
    ownership: Ownership,
    ids: NexthopIds,
    tell: { doubt(...kinds: ObjectKind[]): void; linkGone(name: string): void },
  ) {
    this.#mirror = mirror;
    this.#ownership = ownership;
    this.#ids = ids;
    this.#doubt = tell.doubt;
    this.#onLinkGone = tell.linkGone;
  }

  link(message: LinkMessage): void {
    const before = this.links.nameOf(message.index);
    if (before !== undefined && before !== message.name) this.linkGone(message.index);
    const namesake = this.links.indexOf(message.name);
    if (namesake !== undefined && namesake !== message.index) this.linkGone(namesake);
    this.links.set(message);
    if (message.name === this.external?.name) this.#externalLink(message);
    if (!this.#ownership.links.has(message.name)) return;
    const link = linkFromMessage(message, this.links);
    if (!link) return; // a stranger under our name: adding ours will fail and say so
    this.#mirror.see(link, true);
    if (message.flags & IFF_UP) this.#mirror.see({ kind: "up", dev: link.name }, true);
    else this.linkWasDown(link.name);
  }

  /** Without a carrier, too, the kernel drops nexthop objects and refuses new ones. */
  #externalLink({ name, flags }: LinkMessage): void {
    const ready = (flags & IFF_UP) !== 0 && (flags & IFF_LOWER_UP) !== 0;
    if (ready) this.#mirror.see({ kind: "up", dev: name }, false);
    else this.linkWasDown(name);
  }

  /** Whatever it is now: what went with it has not come back. A link that was not up had nothing to lose. */
  linkWasDown(name: string): void {
    const key = objectKey.up(name);
    if (!this.#mirror.get(key)) return;
    this.#mirror.lose("up", key);
    this.#doubt("neighbour", "nexthop", "route");
  }

  linkGone(index: number): void {
    const name = this.links.nameOf(index);
    this.links.delete(index);
    if (name === undefined || !this.#carriesOurs(name)) return;
    this.#ids.forgetDevice(name);
    this.#mirror.lose("link", objectKey.link(name));
    this.#mirror.loseWhere(ON_A_LINK, (object) => "dev" in object && object.dev === name);
    this.#onLinkGone(name);
  }

  address(message: AddressMessage, gone: boolean): void {
    if (gone && this.links.nameOf(message.index) === this.external?.name) this.#doubt("nexthop", "route");
    const dev = this.#ourLink(message.index);
    if (!dev || isLinkLocal(message.address)) return;
    const { address } = message;
    if (!gone) this.#mirror.see({ kind: "address", dev, address }, true);
    else {
      this.#mirror.lose("address", objectKey.address(address, dev));
      this.#doubt("nexthop", "route");
    }
  }

  neighbour(message: NeighbourMessage, gone: boolean): void {
    const dev = this.#ourLink(message.index);
    if (!dev) return;
    const { address, mac } = message;
    const permanent = !gone && (message.state & NUD_PERMANENT) !== 0;
    if (permanent && mac) this.#mirror.see({ kind: "neighbour", dev, address, mac }, true);
    else this.#mirror.lose("neighbour", objectKey.neighbour(address, dev));
  }

  fdb(message: FdbMessage, gone: boolean): void {
    const dev = this.#ourLink(message.index);
    const { mac, dst } = message;
    if (!dev || !isUnicastMac(mac)) return;
    const permanent = !gone && (message.state & NUD_PERMANENT) !== 0;
    if (permanent && dst) this.#mirror.see({ kind: "fdb", dev, mac, dst }, true);
    else this.#mirror.lose("fdb", objectKey.fdb(mac, dev));
  }

  nexthop(message: NexthopMessage, gone: boolean): void {
    const { id, gateway } = message;
    const dev = message.oif === undefined ? undefined : this.links.nameOf(message.oif);
    const before = this.#ids.hopOf(id);
    if (gone) {
      if (before) this.#nexthopGone(id);
      return;
    }
    if (!isOurNexthop(this.#ownership, id, message.protocol, dev) || !dev || !gateway) {
      if (before) this.#nexthopGone(id);
      this.#ids.avoid(id);
      return;
    }
    if (before && (before.dev !== dev || before.gateway !== gateway)) this.#nexthopGone(id);
    this.#ids.set(id, { dev, gateway });
    this.#mirror.see({ kind: "nexthop", dev, gateway, onlink: (message.flags & RTNH_F_ONLINK) !== 0 }, true);
  }

  /** Whether a route is one by which peers are found to be on link or not. */
  bearsOnLink(message: RouteMessage): boolean {
    const { external } = this;
    const index = external && this.links.indexOf(external.name);
    return external !== undefined && index !== undefined && bearsOnLink(message, index, external.onLink);
  }

  route(message: RouteMessage, gone: boolean): void {
    if (isOurBlackhole(message)) {
      this.#blackhole(message, gone);
      return;
    }
    const { dst, oif, protocol } = message;
    const defaultMetric = message.family === "ipv6" ? IP6_DEFAULT_METRIC : 0;
    if (message.table !== RT_TABLE_MAIN || message.tos !== 0 || (message.priority ?? 0) !== defaultMetric) return;
    const dev = oif === undefined ? undefined : this.links.nameOf(oif);
    if (!insideNetwork(this.#ownership, dst) && !(dev && isOurRoute(this.#ownership, dst, protocol, dev))) return;
    if (gone || !dev || message.type !== RTN_UNICAST || message.hops) {
      this.#mirror.lose("route", objectKey.route(dst));
      return;
    }
    const { nexthopId } = message;
    const known = nexthopId === undefined || this.#ids.hopOf(nexthopId) !== undefined;
    const route: KernelObject = {
      kind: "route",
      dst,
      dev,
      // Through a nexthop that is not ours it may look right and be somebody else's to change: never as desired.
      gateway: known ? message.gateway : undefined,
      onlink: (message.flags & RTNH_F_ONLINK) !== 0,
      form: nexthopId === undefined ? "plain" : "object",
    };
    this.#mirror.see(route, isOurRoute(this.#ownership, dst, protocol, dev));
  }

  #blackhole({ dst }: RouteMessage, gone: boolean): void {
    if (!insideNetwork(this.#ownership, dst)) return;
    if (gone) this.#mirror.lose("blackhole", objectKey.blackhole(dst));
    else this.#mirror.see({ kind: "blackhole", dst }, true);
  }

  #nexthopGone(id: number): void {
    const hop = this.#ids.forget(id);
    if (!hop) return;
    this.#mirror.lose("nexthop", objectKey.nexthop(hop.gateway, hop.dev));
    this.#doubt("route");
  }

  #carriesOurs(name: string): boolean {
    return this.#ownership.links.has(name) || name === this.external?.name;
  }

  #ourLink(index: number): string | undefined {
    const name = this.links.nameOf(index);
    return name !== undefined && this.#ownership.links.has(name) ? name : undefined;
  }
}

function isOurBlackhole({ type, table, protocol, priority }: RouteMessage): boolean {
  const marks = protocol === ROUTE_PROTOCOL && priority === BLACKHOLE_METRIC;
  return marks && type === RTN_BLACKHOLE && table === RT_TABLE_MAIN;
}
