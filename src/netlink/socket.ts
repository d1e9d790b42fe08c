// Requests to the kernel and its answers. Everything here is synchronous, because rtnetlink is: the kernel does the
// work inside send, and when send returns the answers are queued (a dump's next part is made by each recv). An await
// would only add the turn of the event loop between.
//
// Notifications are another matter, and another socket: notification_socket.ts.

import { EAGAIN, ENOBUFS, SysError } from "../sys/error.ts";
import { close, MSG_TRUNC, POLLIN, poll, recv, send } from "../sys/libc.ts";
import { type Answer, AnswerError, DumpInterrupted, MalformedMessage } from "./error.ts";
import { decodeAnswer, MessageReader, NLM_F_ACK, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR } from "./message.ts";
import { openNetlinkSocket, SUBJECT, setForRequests } from "./open.ts";
import { netlinkTrace, type Trace } from "./trace.ts";
import { MessageWriter } from "./writer.ts";

/** Answers wait here until they are read: thousands of refusals of one batch. */
const RECEIVE_BUFFER_BYTES = 8 << 20;
/** One send, below the least SO_SNDBUF that a kernel comes with (net.core.wmem_default, 208 KiB). */
const BATCH_BYTES = 64 << 10;
/**
 * One send; were all refused, the refusals (about 1 KiB of kernel memory each) still fit the receive buffer of a
 * process without CAP_NET_ADMIN.
 */
const BATCH_MESSAGES = 256;
/** A kernel's dump datagram is at most 32 KiB; a single link with many virtual functions may be larger. */
const DATAGRAM_BYTES = 256 << 10;
/** The answer is there when send returns; waiting for one means that it got lost. */
const ANSWER_TIMEOUT_MS = 5_000;
const DUMP_ATTEMPTS = 10;

export interface RequestSocketOptions {
  /** Path of the network namespace to work in: "/var/run/netns/NAME"; this one by default. */
  readonly namespace?: string | undefined;
  /** NETLINK_* (open.ts); routes, links and their kind by default. */
  readonly protocol?: number | undefined;
  readonly trace?: Trace | undefined;
}

/** Appends messages. */
export type Write = (writer: MessageWriter) => void;
/** Reads one message; what is undefined is left out. Must not use the socket. */
export type Decode<T> = (message: MessageReader) => T | undefined;

export class RequestSocket implements Disposable {
  /** What notifications caused by this socket carry. */
  readonly portId: number;
  readonly #fd: number;
  readonly #trace: Trace | undefined;
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES);
  #sequence = 0;
  #spareWriter: MessageWriter | undefined;
  #state: "idle" | "in the middle of an exchange" | "disposed of" = "idle";

  constructor({ namespace, protocol, trace = netlinkTrace() }: RequestSocketOptions = {}) {
    const { fd, portId } = openNetlinkSocket({ namespace, protocol, receiveBufferBytes: RECEIVE_BUFFER_BYTES });
    this.#fd = fd;
    this.portId = portId;
    this.#trace = trace;
    setForRequests(fd);
  }

  /**
   * Sends the one message that `write` appends and returns what `decode` makes of the answers. Throws AnswerError when
   * the kernel says no.
   */
  request<T>(write: Write, decode: Decode<T>): T[];
  request(write: Write): void;
  request<T>(write: Write, decode?: Decode<T>): T[] {
    return this.#exchange(write, (writer, sequence) => {
      const results: T[] = [];
      this.#sendOne(writer, sequence, NLM_F_ACK);
      let answer: Answer | undefined;
      this.#receive((message) => {
        if (message.sequence !== sequence) return false;
        if (message.type === NLMSG_ERROR) {
          answer = decodeAnswer(message);
          return true;
        }
        const result = decode?.(message);
        if (result !== undefined) results.push(result);
        return false;
      });
      if (answer) throw new AnswerError(answer);
      return results;
    });
  }

  /**
   * Sends the one message that `write` appends, which asks for one object, and returns what `decode` makes of it. That answer, or the kernel's no, ends the
   * exchange: no acknowledgement is asked for, nor waited for. Throws AnswerError.
   */
  ask<T>(write: Write, decode: (message: MessageReader) => T): T {
    return this.#exchange(write, (writer, sequence) => {
      let result: { readonly decoded: T } | undefined;
      let answer: Answer | undefined;
      this.#sendOne(writer, sequence, 0);
      this.#receive((message) => {
        if (message.sequence !== sequence) return false;
        if (message.type === NLMSG_ERROR) answer = decodeAnswer(message);
        else result = { decoded: decode(message) };
        return true;
      });
      if (answer) throw new AnswerError(answer);
      if (!result) throw new MalformedMessage("an acknowledgement where an object was asked for");
      return result.decoded;
    });
  }

  /**
   * Sends the one dump request that `write` appends and returns what `decode` makes of each object. A dump that a
   * change disturbed, or whose answers did not fit, is made again.
   */
  dump<T>(write: Write, decode: Decode<T>): T[] {
    for (let attempt = 1; ; attempt++) {
      try {
        const results = this.#dumpOnce(write, decode);
        if (results) return results;
        if (attempt === DUMP_ATTEMPTS) throw new DumpInterrupted(attempt);
      } catch (error) {
        if (!isErrno(error, ENOBUFS) || attempt === DUMP_ATTEMPTS) throw error;
      }
    }
  }

  /**
   * Sends all messages that `write` appends, hundreds at a time, and returns one outcome per message: undefined for
   * done, else the kernel's no. A refused message does not stop those after it.
   */
  batch(write: Write): (Answer | undefined)[] {
    return this.#exchange(write, (writer, first) => {
      const count = writer.count;
      const outcomes = new Array<Answer | undefined>(count).fill(undefined);
      for (let from = 0; from < count; ) {
        let to = from + 1;
        while (to < count && to - from < BATCH_MESSAGES && writer.bytesFrom(from, to + 1) <= BATCH_BYTES) to++;
        for (let i = from; i < to; i++) writer.stamp(i, first + i, i === to - 1 ? NLM_F_ACK : 0);
        this.#send(writer, from, to);
        this.#receive((message) => {
          const index = message.sequence - first;
          if (message.type !== NLMSG_ERROR || index < from || index >= to) return false;
          outcomes[index] = decodeAnswer(message);
          return index === to - 1;
        });
        from = to;
      }
      return outcomes;
    });
  }

  [Symbol.dispose](): void {
    if (this.#state === "disposed of") return;
    this.#state = "disposed of";
    close(this.#fd);
  }

  /** All objects, or undefined when a change disturbed the dump. */
  #dumpOnce<T>(write: Write, decode: Decode<T>): T[] | undefined {
    return this.#exchange(write, (writer, sequence) => {
      const results: T[] = [];
      this.#sendOne(writer, sequence, 0);
      let interrupted = false;
      let answer: Answer | undefined;
      this.#receive((message) => {
        if (message.sequence !== sequence) return false;
        if (message.flags & NLM_F_DUMP_INTR) interrupted = true;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          answer = decodeAnswer(message);
          return true;
        }
        const result = decode(message);
        if (result !== undefined) results.push(result);
        return false;
      });
      if (answer) throw new AnswerError(answer);
      return interrupted ? undefined : results;
    });
  }

  /** Has `write` append its messages, then runs the exchange, telling it the sequence number of the first. */
  #exchange<R>(write: Write, run: (writer: MessageWriter, first: number) => R): R {
    const writer = this.#spareWriter ?? new MessageWriter(BATCH_BYTES);
    this.#spareWriter = undefined; // `write` may itself ask this socket something
    write(writer);
    if (this.#state !== "idle") throw new Error(`cannot use ${SUBJECT}: it is ${this.#state}`);
    this.#state = "in the middle of an exchange";
    try {
      // Numbers stay clear of the 32-bit edge, so that `first + i` needs no wrapping; 0 is what the kernel's own
      // notifications carry.
      if (this.#sequence > 0x7fffffff) this.#sequence = 0;
      const first = this.#sequence + 1;
      this.#sequence += writer.count;
      return run(writer, first);
    } finally {
      this.#endExchange();
      writer.clear();
      this.#spareWriter = writer;
    }
  }

  #endExchange(): void {
    if (this.#state !== "disposed of") this.#state = "idle";
  }

  #sendOne(writer: MessageWriter, sequence: number, flags: number): void {
    if (writer.count !== 1) throw new RangeError(`cannot send ${writer.count} messages: want one`);
    writer.stamp(0, sequence, flags);
    this.#send(writer, 0, 1);
  }

  #send(writer: MessageWriter, from: number, to: number): void {
    const bytes = writer.bytes.subarray(writer.startOf(from), writer.startOf(to));
    this.#trace?.(">", bytes);
    send(this.#fd, bytes, 0, SUBJECT);
  }

  /**
   * Hands over messages until `visit` says that the exchange is over. When it throws, the rest is read and dropped: the
   * kernel runs one dump at a time.
   */
  #receive(visit: (message: MessageReader) => boolean): void {
    try {
      this.#receiveAll(visit);
    } catch (error) {
      this.#drain();
      throw error;
    }
  }

  #drain(): void {
    for (;;) {
      try {
        recv(this.#fd, this.#buffer, MSG_TRUNC, SUBJECT);
      } catch (error) {
        if (!isErrno(error, ENOBUFS)) return;
      }
    }
  }

  #receiveAll(visit: (message: MessageReader) => boolean): void {
    for (;;) {
      const length = this.#receiveDatagram();
      if (length > this.#buffer.length)
        throw new MalformedMessage(`datagram of ${length} bytes, want ${DATAGRAM_BYTES} at most`);
      this.#trace?.("<", this.#buffer.subarray(0, length));
      const message = new MessageReader(this.#buffer, length);
      let over = false;
      while (message.next()) over = visit(message) || over;
      if (over) return;
    }
  }

  #receiveDatagram(): number {
    try {
      return recv(this.#fd, this.#buffer, MSG_TRUNC, SUBJECT);
    } catch (error) {
      if (!isErrno(error, EAGAIN)) throw error;
    }
    if (poll(this.#fd, POLLIN, ANSWER_TIMEOUT_MS, SUBJECT) === 0) throw new SysError("recv", EAGAIN, SUBJECT);
    return recv(this.#fd, this.#buffer, MSG_TRUNC, SUBJECT);
  }
}

function isErrno(error: unknown, errno: number): boolean {
  return error instanceof SysError && error.errno === errno;
}
