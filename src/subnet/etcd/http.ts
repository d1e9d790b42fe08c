// HTTP/1.1 to an etcd cluster, for its v2 API: requests that are answered at once, and answers that stay open (watches). Over
// node:http and sockets of our own, not fetch: a connection that fails tells why (connection_error.ts), one request can be sent
// to the very member that another was sent to, and an idle answer is nobody's to end.
//
// What only reads is asked of the next endpoint when one fails. What writes is not: it may have been done.

import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from "node:http";
import type { Socket } from "node:net";
import { StoreError } from "../store_error.ts";
import { connectionError } from "./connection_error.ts";
import { shownCertificate } from "./endpoint_probe.ts";
import { Endpoints, type Target } from "./endpoints.ts";
import { openSocket } from "./open_socket.ts";
import type { EtcdOptions, EtcdTiming } from "./options.ts";
import { SocketAgent, type SocketHolder } from "./socket_agent.ts";
import { TlsFiles } from "./tls_files.ts";

/** TCP's own sign of life on a connection that is silent: keeps it known to the NAT and firewalls it passes. */
const TCP_KEEPALIVE_MS = 5_000;

export interface HttpRequest {
  readonly method: "GET" | "PUT" | "DELETE";
  /** With its query, escaped. */
  readonly path: string;
  /** Of a PUT. */
  readonly form?: Readonly<Record<string, string>>;
}

export interface HttpAnswer {
  readonly target: Target;
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** An answer whose body is still to come. */
export interface OpenAnswer extends Disposable {
  readonly target: Target;
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** Pieces of the body. Throws StoreError "unreachable" when the connection breaks, the signal's reason when that aborts. */
  readonly body: AsyncIterable<string>;
}

/** The endpoint took the request and did not answer in time. */
export class SilenceError extends StoreError {
  readonly target: Target;

  constructor(target: Target, requestMs: number) {
    const { url } = target.endpoint;
    super("unreachable", url, `cannot use etcd at ${url}: it did not answer within ${requestMs / 1000} s`);
    this.target = target;
  }
}

export class EtcdHttp implements Disposable {
  readonly #agent = new SocketAgent();
  readonly #endpoints: Endpoints;
  readonly #options: EtcdOptions;
  readonly #tls: TlsFiles;
  readonly #authorization: string | undefined;
  readonly #now: () => number;
  /** Where the last request was answered. */
  #target: Target | undefined;

  constructor(options: EtcdOptions, now: () => number) {
    this.#options = options;
    this.#endpoints = new Endpoints(options);
    this.#tls = new TlsFiles(options.tls);
    this.#now = now;
    const { username, password } = options;
    if (username !== "") this.#authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  }

  get description(): string {
    return this.#endpoints.description;
  }

  get timing(): EtcdTiming {
    return this.#options.timing;
  }

  /** Sent to `target`, or to the endpoint that works. */
  async ask(what: HttpRequest, signal: AbortSignal, target?: Target): Promise<HttpAnswer> {
    return this.#trying(what, signal, target, async (open) => {
      let text = "";
      for await (const piece of open.body) text += piece;
      return { target: open.target, status: open.status, headers: open.headers, text };
    });
  }

  /** Resolves when the answer's head has come, which may take `headMs`; its body may take for ever. */
  open(what: HttpRequest, signal: AbortSignal, target: Target, headMs: number): Promise<OpenAnswer> {
    return this.#trying(what, signal, target, async (open) => open, headMs);
  }

  /** The endpoint does not do what it should though it can be reached: the next request goes to another one. */
  avoid(target: Target): void {
    this.#agent.drop(target);
    if (this.#target?.endpoint.url !== target.endpoint.url) return;
    this.#endpoints.avoid(target.endpoint.url);
    this.#target = undefined;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #trying<T>(
    what: HttpRequest,
    signal: AbortSignal,
    target: Target | undefined,
    use: (open: OpenAnswer) => Promise<T>,
    limitMs = this.timing.requestMs,
  ): Promise<T> {
    const failed = new Map<string, StoreError>();
    for (;;) {
      const connection = await this.#connection(signal, target);
      const { url } = connection.target.endpoint;
      // Every endpoint that can be connected to has had its turn.
      const before = failed.get(url);
      if (before) {
        connection.socket?.destroy();
        throw before;
      }
      // Taken by another request meanwhile.
      if (!connection.socket && !this.#agent.hasFree(connection.target)) continue;
      const limit = new AbortController();
      const silent = () => limit.abort(new SilenceError(connection.target, limitMs));
      const timer = Number.isFinite(limitMs) ? setTimeout(silent, limitMs) : undefined;
      try {
        const open = await this.#send(what, connection, AbortSignal.any([signal, limit.signal]));
        const result = await use(open);
        clearTimeout(timer);
        return result;
      } catch (error) {
        clearTimeout(timer);
        signal.throwIfAborted();
        const cause = limit.signal.aborted ? limit.signal.reason : error;
        if (!(cause instanceof StoreError)) throw cause;
        // A kept connection that the server ended in the meantime says nothing of the server.
        const stale = connection.socket === undefined && !limit.signal.aborted;
        if (!stale) this.avoid(connection.target);
        if (what.method !== "GET" || (target && !stale)) throw cause;
        if (!stale) failed.set(url, cause);
      }
    }
  }

  /** A kept connection (`socket` undefined) or a new one. */
  async #connection(signal: AbortSignal, target: Target | undefined) {
    signal.throwIfAborted();
    const kept = target ?? this.#target;
    if (kept && this.#agent.hasFree(kept)) return { target: kept, socket: undefined };
    const connect = async (to: Target) => ({ target: to, socket: await this.#openSocket(to, signal) });
    const made = target ? await connect(target) : await this.#endpoints.connect(connect, signal);
    if (!target) this.#target = made.target;
    return made;
  }

  async #openSocket(target: Target, signal: AbortSignal): Promise<Socket> {
    const texts = target.endpoint.secure ? this.#tls.texts() : undefined;
    const { tls: files } = this.#options;
    const socket = await openSocket(target, { files, texts, protocol: "http/1.1", now: this.#now }, signal);
    return socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
  }

  async #send(
    { method, path, form }: HttpRequest,
    { target, socket }: { readonly target: Target; readonly socket: Socket | undefined },
    signal: AbortSignal,
  ): Promise<OpenAnswer> {
    const { endpoint, address } = target;
    const body = form && new URLSearchParams(form).toString();
    const options: RequestOptions & SocketHolder = {
      method,
      path,
      host: address,
      port: endpoint.port,
      agent: this.#agent,
      flannelSocket: socket,
      headers: {
        Host: endpoint.url.replace(/^https?:\/\//, ""),
        ...(this.#authorization ? { Authorization: this.#authorization } : {}),
        ...(body === undefined
          ? {}
          : { "Content-Type": "application/x-www-form-urlencoded", "Content-Length": String(Buffer.byteLength(body)) }),
      },
    };
    const sent = request(options);
    // One became free while this one was made.
    if (socket && !this.#agent.took(socket)) socket.destroy();
    const abort = () => sent.destroy(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    const done = () => signal.removeEventListener("abort", abort);
    try {
      if (signal.aborted) abort();
      const message = await answered(sent, body);
      message.once("close", done);
      // One that nobody reads to its end must not end the process when it breaks.
      message.on("error", () => {});
      return {
        target,
        status: message.statusCode ?? 0,
        headers: message.headers,
        body: this.#body(message, target, signal),
        [Symbol.dispose]: () => {
          done();
          if (!message.complete) sent.destroy();
        },
      };
    } catch (error) {
      done();
      signal.throwIfAborted();
      throw await this.#failure(error, target);
    }
  }

  async *#body(message: IncomingMessage, target: Target, signal: AbortSignal): AsyncGenerator<string, void, undefined> {
    message.setEncoding("utf8");
    try {
      for await (const piece of message) yield piece as string;
    } catch (error) {
      signal.throwIfAborted();
      const { url } = target.endpoint;
      const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
      const text = `cannot read the answer of etcd at ${url}: ${code}, the connection broke`;
      throw new StoreError("unreachable", url, text, { cause: error });
    }
  }

  /** With TLS 1.3 a server that refuses the client's certificate says so only now; one that has TLS ends a plain connection. */
  async #failure(error: unknown, target: Target): Promise<StoreError> {
    const texts = target.endpoint.secure ? this.#tls.texts() : undefined;
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (texts && /_ALERT_/.test(code)) {
      return connectionError(error, { target, files: this.#options.tls, texts }, this.#now());
    }
    const { url } = target.endpoint;
    const certificate = texts ? undefined : await shownCertificate(target);
    if (certificate) {
      const secure = url.replace("http:", "https:");
      const text = `cannot use etcd at ${url}: the server speaks TLS, not plain HTTP; give ${secure} and --etcd-cafile`;
      return new StoreError("invalid", url, text, { cause: error });
    }
    const cause = error instanceof Error ? error.message : String(error);
    const text = `cannot use etcd at ${url}: the connection broke before an answer came (${code || cause})`;
    return new StoreError("unreachable", url, text, { cause: error });
  }
}

function answered(sent: ClientRequest, body: string | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once("response", resolve);
    // Stays: an error after the answer (an abort) comes here as well, and would end the process without a listener.
    sent.on("error", reject);
    sent.end(body);
  });
}
