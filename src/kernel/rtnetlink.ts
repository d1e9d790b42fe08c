// The driver of links, addresses, neighbours, FDB entries, nexthops and routes: rtnetlink(7). Its mirror is read by dump once, kept by notifications, and
// read again when the kernel says that notifications were lost or when it is known to be silent (observer.ts).

import { type Family, familiesOf } from "../ip/family.ts";
import { decodeAddress, dumpAddresses } from "../netlink/address.ts";
import { type Answer, NetlinkError } from "../netlink/error.ts";
import { decodeFdb, dumpFdb } from "../netlink/fdb.ts";
import { changeLink, decodeLink, dumpLinks, getLink, IFF_UP } from "../netlink/link.ts";
import { decodeNeighbour, dumpNeighbours } from "../netlink/neighbour.ts";
import { decodeNexthop, dumpNexthops } from "../netlink/nexthop.ts";
import { decodeNotifications, networkGroups } from "../netlink/notification.ts";
import { NotificationSocket } from "../netlink/notification_socket.ts";
import { decodeRoute, dumpRoutes, RT_TABLE_MAIN } from "../netlink/route.ts";
import { RequestSocket } from "../netlink/socket.ts";
import { type ObjectKey, type ObjectKind, objectKey, type Route } from "../state/object.ts";
import type { Operation } from "../state/operation.ts";
import { printObject, ROUTE_PROTOCOL } from "../state/print.ts";
import { EEXIST, ENETDOWN, ENODEV } from "../sys/error.ts";
import { adviceFor, isGone } from "./advice.ts";
import { type Driver, type Outcome, Overtaken } from "./driver.ts";
import { encodeOperation, type Obstacle } from "./encode.ts";
import type { External } from "./external.ts";
import { Mirror } from "./mirror.ts";
import { NexthopIds } from "./nexthop_ids.ts";
import { Observer } from "./observer.ts";
import type { Ownership } from "./ownership.ts";
import { encodeShadowed, mayBeShadowed } from "./shadowed.ts";
import { makeTunLink, newTun } from "./tun_link.ts";

const KINDS: readonly ObjectKind[] = ["link", "up", "address", "neighbour", "fdb", "nexthop", "route", "blackhole"];

/** One dump of the kernel tells of both. */
const SAID_TOGETHER: readonly (readonly ObjectKind[])[] = [
  ["link", "up"],
  ["route", "blackhole"],
];

/** Operations between two looks at the event loop: about 20 ms of the kernel's time. */
const CHUNK = 2_000;

export interface RtnetlinkOptions {
  readonly ownership: Ownership;
  readonly nexthopObjects: boolean;
  /** Path of the network namespace to work in; this one by default. */
  readonly namespace?: string;
  /** Bytes of the notification socket's buffer. */
  readonly notificationBytes?: number;
  readonly onLinkGone?: (name: string) => void;
  /** A link or address of the host that is not ours changed, or a route that says what is on link. */
  readonly onHostChange?: () => void;
}

export class RtnetlinkDriver implements Driver {
  readonly kinds = KINDS;
  readonly mirror = new Mirror();
  readonly ids: NexthopIds;
  readonly #options: RtnetlinkOptions;
  readonly #families: readonly Family[];
  readonly #doubt = new Set<ObjectKind>(KINDS);
  readonly #requests: RequestSocket;
  readonly #notifications: NotificationSocket;
  readonly #observer: Observer;
  #wake: () => void = () => {};

  constructor(options: RtnetlinkOptions) {
    const { ownership, namespace, notificationBytes } = options;
    this.#options = options;
    this.#families = familiesOf(ownership.networks);
    this.ids = new NexthopIds(ownership.networks);
    this.#observer = new Observer(this.mirror, ownership, this.ids, {
      doubt: (...kinds) => {
        for (const kind of kinds) this.#doubt.add(kind);
      },
      linkGone: (name) => options.onLinkGone?.(name),
    });
    this.#requests = new RequestSocket({ namespace });
    // Subscribed before the first dump: what changes in between is heard twice rather than never. Echoes of our own operations are left out by the
    // kernel: what came of them was acknowledged, and an echo that is late would undo in the mirror what happened since.
    this.#notifications = new NotificationSocket({
      groups: networkGroups(options.nexthopObjects),
      exceptPortId: this.#requests.portId,
      onMessages: (datagram) => this.#hear(datagram),
      onOverrun: () => this.#doubtAll(),
      onFailure: () => this.#doubtAll(),
      ...(namespace !== undefined && { namespace }),
      ...(notificationBytes !== undefined && { receiveBufferBytes: notificationBytes }),
    });
  }

  get inDoubt(): boolean {
    return this.#doubt.size > 0;
  }

  /** Whether our link of this name is there now; a stranger under the name (a bridge) is not it. */
  stands(name: string): boolean {
    this.#readNow("link");
    return this.mirror.get(objectKey.link(name)) !== undefined;
  }

  /** Whether there is a route of ours now, on whatever link. */
  hasRoutes(): boolean {
    for (const kind of ["link", "nexthop", "route"] as const) this.#readNow(kind);
    return [...this.mirror.all.values()].some(({ object, ours }) => ours && object.kind === "route");
  }

  /** Says which interface is the external one. */
  follow(external: External): void {
    const before = this.#observer.external;
    this.#observer.external = external;
    if (before?.name === external.name) return;
    if (before) this.mirror.lose("up", objectKey.up(before.name));
    this.#doubt.add("link");
    this.#wake();
  }

  awaits(key: ObjectKey): boolean {
    const { external } = this.#observer;
    return external !== undefined && key === objectKey.up(external.name);
  }

  /** Takes routes over that another flannel made; they are ours from now on. */
  adopt(routes: readonly Route[]): void {
    for (const route of routes) this.mirror.see(route, true);
    this.#wake();
  }

  watch(wake: () => void): void {
    this.#wake = wake;
  }

  async refresh(kind: ObjectKind): Promise<void> {
    this.#readNow(kind);
  }

  #readNow(kind: ObjectKind): void {
    if (!this.#doubt.delete(kind)) return;
    try {
      this.#dump(kind);
    } catch (error) {
      this.#doubt.add(kind);
      throw error;
    }
  }

  async apply(operations: readonly Operation[]): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = [];
    for (let from = 0; from < operations.length; from += CHUNK) {
      if (from > 0) await Bun.sleep(0);
      const chunk = operations.slice(from, from + CHUNK);
      outcomes.push(...this.#applyChunk(chunk));
    }
    return outcomes;
  }

  #applyChunk(operations: readonly Operation[]): Outcome[] {
    const kind = operations[0]?.object.kind;
    return kind === "link" || kind === "up"
      ? operations.map((each) => this.#applyLink(each))
      : this.#applyBatch(operations);
  }

  /**
   * Links one by one, and what the kernel made of them is read back at once. Notifications so far are heard first: that of a link just made says
   * that it is down, and must not be taken for one that went down.
   */
  #applyLink(operation: Operation): Outcome {
    const { object } = operation;
    if (operation.verb === "recreate") {
      const { key } = operation;
      const failed = this.#applyLink({ verb: "delete", key, object: operation.actual });
      return failed ?? this.#applyLink({ verb: "add", key, object });
    }
    const tun = newTun(operation);
    const [outcome] = tun ? [makeTunLink(tun, this.#options.namespace)] : this.#applyBatch([operation]);
    this.#notifications.drain();
    this.#readLink(object.kind === "link" ? object.name : "dev" in object ? object.dev : "");
    return outcome;
  }

  #applyBatch(operations: readonly Operation[]): Outcome[] {
    const outcomes = new Array<Outcome>(operations.length).fill(undefined);
    /** For each message, the number of its operation. */
    const sent: number[] = [];
    const answers = this.#requests.batch((writer) => {
      for (const [i, operation] of operations.entries()) {
        const obstacle = encodeOperation(writer, operation, this.#observer.links, this.ids);
        if (obstacle) outcomes[i] = this.#outcome(operation, undefined, obstacle);
        else while (sent.length < writer.count) sent.push(i);
      }
    });
    for (const [n, i] of sent.entries()) {
      const operation = operations[i];
      if (operation) outcomes[i] ??= this.#outcome(operation, this.#unshadowed(operation, answers[n]), undefined);
    }
    return outcomes;
  }

  #unshadowed(operation: Operation, answer: Answer | undefined): Answer | undefined {
    if (!answer || !mayBeShadowed(operation, answer.errno)) return answer;
    return this.#requests.batch((writer) => encodeShadowed(writer, operation, this.#observer.links, this.ids))[1];
  }

  #outcome(operation: Operation, answer: Answer | undefined, obstacle: Obstacle | undefined): Outcome {
    const { object, verb, key } = operation;
    if (verb === "delete" && (!answer || isGone(answer.errno)) && !(obstacle && "obstacle" in obstacle)) {
      if (object.kind === "link") this.#forgetLink(object.name);
      if (object.kind === "nexthop") this.ids.forgetHop(object);
      this.mirror.confirm(key, undefined);
      return undefined;
    }
    if (!answer && !obstacle) {
      if (object.kind !== "link" && object.kind !== "up") this.mirror.confirm(key, object);
      return undefined;
    }
    if (answer && object.kind === "nexthop" && verb !== "delete") this.#nexthopRefused(answer.errno, object);
    const what = printObject(object);
    if (answer && object.kind !== "link" && (answer.errno === ENODEV || answer.errno === ENETDOWN)) {
      this.#doubt.add("link");
      return new Overtaken(new NetlinkError(verb, what, answer).message);
    }
    if (!answer)
      return new Error(`cannot ${verb} ${what}: ${obstacle && "obstacle" in obstacle ? obstacle.obstacle : ""}`);
    return new NetlinkError(verb, what, answer, adviceFor(object, answer.errno, this.mirror));
  }

  /** An id we thought free is somebody's, or one we thought ours is gone. */
  #nexthopRefused(errno: number, hop: Parameters<NexthopIds["get"]>[0]): void {
    const id = this.ids.get(hop);
    if (id === undefined) return;
    if (errno === EEXIST) this.ids.avoid(id);
    else this.ids.forget(id);
    this.#doubt.add("nexthop");
  }

  #forgetLink(name: string): void {
    const index = this.#observer.links.indexOf(name);
    if (index !== undefined) this.#observer.linkGone(index);
  }

  #readLink(name: string): void {
    try {
      for (const link of this.#requests.request((writer) => getLink(writer, { name }), decodeLink))
        this.#observer.link(link);
    } catch (error) {
      if (!(error instanceof Error && "errno" in error && error.errno === ENODEV)) throw error;
      this.#forgetLink(name);
    }
  }

  /** A notification is news of the past. Links do not tell whose echo they are, so one of ours is read again instead of believed. */
  #hear(datagram: Uint8Array): void {
    let host = false;
    for (const { change, object } of decodeNotifications(datagram)) {
      const gone = change === "deleted";
      switch (object.kind) {
        case "link":
          if (gone) this.#observer.linkGone(object.index);
          else if (this.#options.ownership.links.has(object.name)) {
            if (!(object.flags & IFF_UP)) this.#observer.linkWasDown(object.name);
            this.#readLink(object.name);
          } else this.#observer.link(object);
          host ||= !this.#options.ownership.links.has(object.name);
          break;
        case "address":
          this.#observer.address(object, gone);
          host ||= !this.#isOurs(object.index);
          break;
        case "neighbour":
          this.#observer.neighbour(object, gone);
          break;
        case "fdb":
          this.#observer.fdb(object, gone);
          break;
        case "nexthop":
          this.#observer.nexthop(object, gone);
          break;
        case "route":
          this.#observer.route(object, gone);
          host ||= this.#observer.bearsOnLink(object);
          break;
        case "rule":
        case "nsid":
          break;
      }
    }
    if (host) this.#options.onHostChange?.();
    if (this.mirror.hasChanged || this.inDoubt) this.#wake();
  }

  #doubtAll(): void {
    for (const kind of KINDS) this.#doubt.add(kind);
    this.#options.onHostChange?.();
    this.#wake();
  }

  #isOurs(index: number): boolean {
    const name = this.#observer.links.nameOf(index);
    return name !== undefined && this.#options.ownership.links.has(name);
  }

  /** Reads one kind anew. What is in the mirror and not in the dump is gone. */
  #dump(kind: ObjectKind): void {
    if (kind === "up" || kind === "blackhole") return; // said with links and routes
    const kinds = SAID_TOGETHER.find((together) => together.includes(kind)) ?? [kind];
    const seen = this.mirror.during(() => this.#dumpInto(kind));
    this.mirror.loseWhere(kinds, (object, key) => {
      const gone = !seen.has(key);
      if (gone && object.kind === "nexthop") this.ids.forgetHop(object);
      return gone;
    });
  }

  #dumpInto(kind: ObjectKind): void {
    const { links } = this.#observer;
    switch (kind) {
      case "link": {
        const messages = this.#requests.dump((writer) => dumpLinks(writer), decodeLink);
        const indexes = new Set(messages.map(({ index }) => index));
        for (const index of links.indexes) if (!indexes.has(index)) this.#observer.linkGone(index);
        for (const message of messages) links.set(message); // parents may come after the links they carry
        for (const message of messages) this.#observer.link(message);
        break;
      }
      case "address":
        for (const index of this.#ourIndexes()) {
          const messages = this.#requests.dump((writer) => dumpAddresses(writer, { index }), decodeAddress);
          for (const message of messages) this.#observer.address(message, false);
        }
        break;
      case "neighbour":
        for (const index of this.#ourIndexes()) {
          const messages = this.#requests.dump((writer) => dumpNeighbours(writer, { index }), decodeNeighbour);
          for (const message of messages) this.#observer.neighbour(message, false);
        }
        break;
      case "fdb":
        for (const index of this.#ourIndexes()) {
          const messages = this.#requests.dump((writer) => dumpFdb(writer, { index }), decodeFdb);
          for (const message of messages) this.#observer.fdb(message, false);
        }
        break;
      case "nexthop":
        if (!this.#options.nexthopObjects) break;
        this.#barrier();
        for (const message of this.#requests.dump((writer) => dumpNexthops(writer), decodeNexthop)) {
          this.#observer.nexthop(message, false);
        }
        break;
      case "route":
        this.#barrier();
        for (const family of this.#families) this.#dumpRoutes(family);
        break;
      case "up":
      case "blackhole":
      case "sysctl":
        break;
    }
  }

  /** Routes on our links by whomever, and ours by protocol wherever; never a whole table, which may hold the Internet. */
  #dumpRoutes(family: Family): void {
    const filters = [
      { family, table: RT_TABLE_MAIN, protocol: ROUTE_PROTOCOL },
      ...this.#ourIndexes().map((oif) => ({ family, table: RT_TABLE_MAIN, oif })),
    ];
    for (const filter of filters) {
      const messages = this.#requests.dump((writer) => dumpRoutes(writer, filter), decodeRoute);
      for (const message of messages) this.#observer.route(message, false);
    }
  }

  /**
   * Waits for the lock that link and address changes hold until they have flushed what they flush; route dumps themselves do not take it. Setting nothing on
   * the loopback device does, and changes nothing.
   */
  #barrier(): void {
    const loopback = this.#observer.links.indexOf("lo");
    if (loopback !== undefined) this.#requests.request((writer) => changeLink(writer, loopback, {}));
  }

  #ourIndexes(): number[] {
    return [...this.#options.ownership.links]
      .map((name) => this.#observer.links.indexOf(name))
      .filter((index) => index !== undefined);
  }

  [Symbol.dispose](): void {
    this.#notifications[Symbol.dispose]();
    this.#requests[Symbol.dispose]();
  }
}
