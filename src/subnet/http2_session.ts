// One HTTP/2 connection to a store's server: its life, its pings, its streams. node:http2 under Bun has its ways, and
// all that works around them is here:
// - A session counts as open only once the server's SETTINGS came: with TLS 1.3 a server refuses a client certificate after
//   the handshake, and what does not speak HTTP/2 shows it then at the earliest.
// - Every session, stream and socket keeps an error listener for its whole life: an error without one ends the process.
// - When the session ends its streams are ended here, since they are not told reliably.
// - The window of the connection is never changed (setLocalWindowSize): answers over 64 KiB would stall.
//
// etcd (grpc-go's keepalive enforcement) takes pings less than 5 s apart, or without an open stream, for an attack. So the
// next ping is due `pingMs` after the answer to the last one, which keeps them apart at the server however slow the network
// is; any byte received counts as such an answer.

import { type ClientHttp2Session, type ClientHttp2Stream, connect, type OutgoingHttpHeaders } from "node:http2";
import type { Socket } from "node:net";

export interface PingTiming {
  /** Between two signs of life asked of a connection that is silent, in milliseconds. */
  readonly pingMs: number;
  /** For the answer to such a ping. */
  readonly pongMs: number;
}

/** The time is over in which the connection should have stood: nothing came back. */
export class ConnectTimeout extends Error {
  readonly code = "ETIMEDOUT";
}

export class SessionEnded extends Error {
  override readonly name = "SessionEnded";
}

export class Http2Session implements Disposable {
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  readonly #timing: PingTiming;
  readonly #streams = new Set<ClientHttp2Stream>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pinging = false;
  #aliveAt = performance.now();
  #draining = false;
  #ended: Error | undefined;

  private constructor(session: ClientHttp2Session, socket: Socket, timing: PingTiming) {
    this.#session = session;
    this.#socket = socket;
    this.#timing = timing;
    session.on("error", (error) => this.#end(error));
    session.on("close", () => this.#end(new Error("the server closed the connection")));
    session.on("goaway", () => {
      this.#draining = true;
    });
    socket.on("error", (error) => this.#end(error));
    socket.on("close", () => this.#end(new Error("the server closed the connection")));
  }

  /** Begins HTTP/2 on a connection that stands; `limitMs` for the server's SETTINGS. Rejects with what the system or TLS says. */
  static open(socket: Socket, timing: PingTiming, limitMs: number, signal: AbortSignal): Promise<Http2Session> {
    return new Promise((resolve, reject) => {
      // The host is the socket's matter; the scheme must be what the socket has.
      const scheme = "encrypted" in socket ? "https" : "http";
      const session = connect(`${scheme}://server`, { createConnection: () => socket });
      const made = new Http2Session(session, socket, timing);
      const fail = (error: Error) => {
        settle();
        made.#end(error);
        reject(error);
      };
      const abort = () => fail(signal.reason);
      // TLS tells its alert on the socket, sometimes just after the session closed.
      const closed = () => setTimeout(() => fail(new Error("the server closed the connection")), 10);
      const timer = setTimeout(() => fail(new ConnectTimeout("no HTTP/2 SETTINGS")), limitMs);
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        session.off("error", fail);
        session.off("close", closed);
        socket.off("error", fail);
      };
      signal.addEventListener("abort", abort, { once: true });
      session.on("error", fail);
      session.on("close", closed);
      socket.on("error", fail);
      session.once("remoteSettings", () => {
        settle();
        // An idle connection does not keep the process from ending.
        session.unref();
        resolve(made);
      });
    });
  }

  /** Whether new streams can be opened on it. */
  get usable(): boolean {
    const { closed, destroyed } = this.#session;
    return !this.#draining && this.#ended === undefined && !closed && !destroyed;
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  request(headers: OutgoingHttpHeaders): ClientHttp2Stream {
    if (!this.usable) throw new SessionEnded("the connection has ended", { cause: this.#ended });
    const stream = this.#session.request(headers);
    stream.on("error", () => {}); // whoever reads the stream hears it as well
    this.#streams.add(stream);
    if (this.#streams.size === 1) this.#session.ref();
    stream.on("response", () => this.received());
    stream.once("close", () => {
      this.#streams.delete(stream);
      if (this.#streams.size > 0 || this.#ended) return;
      // A ping under way still tells whether the other side lives.
      if (!this.#pinging) clearTimeout(this.#timer);
      this.#session.unref();
      if (this.#draining) this.#end(new Error("the server asked to close the connection"));
    });
    // After a silence nothing is known of the other side: ask at once. The stream that was just opened makes it a legal time.
    if (this.#streams.size === 1 && !this.#pinging)
      this.#pingIn(this.#silentMs >= this.#timing.pingMs ? 0 : this.#timing.pingMs);
    return stream;
  }

  /** Something came from the other side. */
  received(): void {
    this.#aliveAt = performance.now();
  }

  /** Ends it and all its streams. */
  destroy(error: Error): void {
    this.#end(error);
  }

  [Symbol.dispose](): void {
    this.#end(new Error("closed"));
  }

  get #silentMs(): number {
    return performance.now() - this.#aliveAt;
  }

  #pingIn(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#ended || this.#streams.size === 0) return;
    this.#timer = setTimeout(() => {
      const restMs = ms === 0 ? 0 : this.#timing.pingMs - this.#silentMs;
      if (restMs > 0) this.#pingIn(restMs);
      else this.#ping();
    }, ms);
    this.#timer.unref();
  }

  #ping(): void {
    const seconds = this.#timing.pongMs / 1000;
    this.#pinging = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () =>
        this.#end(new Error(`no answer to a ping within ${seconds} s; packets may be dropped, or the server hangs`)),
      this.#timing.pongMs,
    );
    this.#timer.unref();
    const answered = (error: Error | null) => {
      if (error || this.#ended) return; // the end of the session is told elsewhere
      this.#pinging = false;
      this.received();
      this.#pingIn(this.#timing.pingMs);
    };
    try {
      if (!this.#session.ping(answered)) this.#end(new Error("cannot send a ping"));
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #end(error: Error): void {
    if (this.#ended) return;
    this.#ended = error;
    clearTimeout(this.#timer);
    const ended = new SessionEnded(error.message, { cause: error });
    const streams = [...this.#streams];
    this.#streams.clear();
    for (const stream of streams) stream.destroy(ended);
    this.#session.destroy();
    this.#socket.destroy();
  }
}
