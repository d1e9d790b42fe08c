// What this host has, read from the kernel: links, addresses, and the routes that say where packets leave. Interface choice and host facts are made of it
// by pure functions (interface.ts, facts.ts).

import type { Address } from "../ip/address.ts";
import type { Family } from "../ip/family.ts";
import { prefixLength } from "../ip/prefix.ts";
import { type AddressMessage, decodeAddress, dumpAddresses } from "../netlink/address.ts";
import { AnswerError } from "../netlink/error.ts";
import { decodeLink, dumpLinks, type LinkMessage } from "../netlink/link.ts";
import { decodeNexthop, dumpNexthops } from "../netlink/nexthop.ts";
import {
  decodeRoute,
  dumpRoutes,
  lookUpRoute,
  type RouteMessage,
  RT_TABLE_MAIN,
  RTN_UNICAST,
} from "../netlink/route.ts";
import { RequestSocket } from "../netlink/socket.ts";

export interface HostView {
  readonly links: readonly LinkMessage[];
  readonly addresses: readonly AddressMessage[];
}

/** Reads the kernel on demand; owns a netlink socket. */
export class Host {
  readonly #socket: RequestSocket;

  constructor(namespace?: string) {
    this.#socket = new RequestSocket({ namespace });
  }

  view(): HostView {
    return {
      links: this.#socket.dump((writer) => dumpLinks(writer), decodeLink),
      addresses: this.#socket.dump((writer) => dumpAddresses(writer), decodeAddress),
    };
  }

  /** Default routes of the main table, best metric first. */
  defaultRoutes(family: Family): RouteMessage[] {
    const routes = this.#socket.dump(
      (writer) => dumpRoutes(writer, { family, table: RT_TABLE_MAIN }),
      // The kernel cannot filter by destination; the length in the header spares decoding the rest.
      (message) => (message.u8(1) === 0 ? decodeRoute(message) : undefined),
    );
    return routes
      .filter((route) => prefixLength(route.dst) === 0 && route.type === RTN_UNICAST)
      .sort((a, b) => (a.priority ?? 0) - (b.priority ?? 0));
  }

  /** Unicast routes of the main table that leave by one link; of one RTPROT_* alone when it is given. */
  routesThrough(family: Family, index: number, protocol?: number): RouteMessage[] {
    const filter = { family, table: RT_TABLE_MAIN, oif: index, ...(protocol !== undefined && { protocol }) };
    return this.#socket
      .dump((writer) => dumpRoutes(writer, filter), decodeRoute)
      .filter((route) => route.type === RTN_UNICAST);
  }

  /** Unicast routes of the main table of one RTPROT_*. */
  routesOf(family: Family, protocol: number): RouteMessage[] {
    return this.#socket
      .dump((writer) => dumpRoutes(writer, { family, table: RT_TABLE_MAIN, protocol }), decodeRoute)
      .filter((route) => route.type === RTN_UNICAST);
  }

  /** How a packet to `address` would leave, as `ip route get`; undefined when it would not. */
  routeTo(address: Address): RouteMessage | undefined {
    try {
      return this.#socket.request((writer) => lookUpRoute(writer, address), decodeRoute)[0];
    } catch (error) {
      if (error instanceof AnswerError) return undefined; // ENETUNREACH
      throw error;
    }
  }

  /** Whether the kernel has nexthop objects (Linux ≥ 5.3). */
  hasNexthopObjects(): boolean {
    try {
      this.#socket.dump((writer) => dumpNexthops(writer, { oif: 1 }), decodeNexthop);
      return true;
    } catch (error) {
      if (error instanceof AnswerError) return false;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
