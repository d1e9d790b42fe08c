// What changes in the kernel, told as it happens: a netlink socket that joined multicast groups, read by the runtime's
// event loop.
//
// When changes come faster than they are read, the kernel drops messages and says so once, with ENOBUFS, which the
// runtime takes for the end of the connection. Then nothing that was known by notification is certain any more: a new
// socket is opened, and only after that the subscriber is told, so that a dump it makes at that moment overlaps with
// what the new socket reports.

import { ENOBUFS } from "../sys/error.ts";
import { close, recvNow } from "../sys/libc.ts";
import { exceptCausedBy, joinGroup, openNetlinkSocket } from "./open.ts";
import { netlinkTrace, type Trace } from "./trace.ts";

/** A burst of 20,000 changes, about 1 KiB of kernel memory each, while the process is busy for a moment. */
const RECEIVE_BUFFER_BYTES = 32 << 20;
const REOPEN_AFTER_MS = 1_000;
/** A notification is one object: a link with many virtual functions is the largest. */
const DATAGRAM_BYTES = 64 << 10;
/** Bounds a turn of the event loop to some tens of milliseconds. */
const DRAIN_AT_MOST = 20_000;

export interface Subscription {
  /** RTNLGRP_* (notification.ts), or the groups of `protocol`. */
  readonly groups: readonly number[];
  /** NETLINK_*; NETLINK_ROUTE by default. */
  readonly protocol?: number | undefined;
  /** What this socket (its portId) causes is not reported, where the kernel says who caused it. */
  readonly exceptPortId?: number | undefined;
  /** One or more messages, for decodeNotifications; the bytes are the callee's only until it returns. */
  onMessages(datagram: Uint8Array): void;
  /** Messages were lost; the subscription goes on. */
  onOverrun(): void;
  /**
   * The subscription broke and cannot be renewed for now; it is tried every second, and onOverrun tells when it works
   * again.
   */
  onFailure(error: unknown): void;
  /** Path of the network namespace to watch; this one by default. */
  readonly namespace?: string | undefined;
  readonly receiveBufferBytes?: number;
  readonly trace?: Trace | undefined;
}

export class NotificationSocket implements Disposable {
  readonly #subscription: Subscription;
  readonly #trace: Trace | undefined;
  #connection: Connection | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES);
  #fd = -1;
  #failing = false;
  #disposed = false;

  /** Subscribed from here on: what changes after this call is reported. Throws SysError. */
  constructor(subscription: Subscription) {
    this.#subscription = subscription;
    this.#trace = "trace" in subscription ? subscription.trace : netlinkTrace();
    this.#connect();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
    this.#connection?.end();
  }

  #connect(): void {
    const { groups, protocol, exceptPortId, namespace, receiveBufferBytes = RECEIVE_BUFFER_BYTES } = this.#subscription;
    const { fd } = openNetlinkSocket({ namespace, receiveBufferBytes, protocol });
    try {
      if (exceptPortId !== undefined) exceptCausedBy(fd, exceptPortId);
      for (const group of groups) joinGroup(fd, group);
    } catch (error) {
      close(fd);
      throw error;
    }
    const events: ConnectionEvents = {
      open: (connection) => {
        this.#connection = connection;
        this.#fd = fd;
      },
      data: (_, datagram) => {
        this.#deliver(datagram);
        this.drain();
      },
      close: () => {
        this.#fd = -1;
        this.#reopen();
      },
      error: (_, error) => this.#subscription.onFailure(error),
    };
    connect({ fd, socket: events }).catch((error: unknown) => {
      close(fd);
      this.#retryLater(error);
    });
  }

  #deliver(datagram: Uint8Array): void {
    if (this.#disposed) return;
    this.#trace?.("<", datagram);
    this.#subscription.onMessages(datagram);
  }

  /**
   * Delivers what waits, now. The runtime hands over one datagram a turn, and the kernel sends one for each change: what else waits is read with the first,
   * so that a burst is taken as one.
   */
  drain(): void {
    for (let read = 0; read < DRAIN_AT_MOST && this.#fd >= 0 && !this.#disposed; read++) {
      const length = recvNow(this.#fd, this.#buffer);
      if (length === -ENOBUFS) this.#subscription.onOverrun(); // said once, and the socket goes on
      if (length <= 0) return;
      this.#deliver(this.#buffer.subarray(0, length));
    }
  }

  #reopen(): void {
    if (this.#disposed) return;
    try {
      this.#connect();
    } catch (error) {
      this.#retryLater(error);
      return;
    }
    this.#failing = false;
    this.#subscription.onOverrun();
  }

  #retryLater(error: unknown): void {
    if (!this.#failing) this.#subscription.onFailure(error);
    this.#failing = true;
    this.#timer = setTimeout(() => this.#reopen(), REOPEN_AFTER_MS);
  }
}

interface Connection {
  end(): void;
}

interface ConnectionEvents {
  /** Called before connect returns. */
  open(connection: Connection): void;
  data(connection: Connection, datagram: Uint8Array): void;
  close(connection: Connection): void;
  /** Something thrown by another of these. */
  error(connection: Connection, error: Error): void;
}

/** Bun reads an open socket when given its number, one callback per datagram; its types lack that form. */
const connect = Bun.connect as unknown as (options: { fd: number; socket: ConnectionEvents }) => Promise<Connection>;
