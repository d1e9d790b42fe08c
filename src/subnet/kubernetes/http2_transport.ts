// HTTP/2 over TLS to the API server: one connection for all requests and the watch, opened when it is needed and anew when it broke. Pings notice a dead one
// within seconds, and cost the server no request.

import type { ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { Http2Session, SessionEnded } from "../http2_session.ts";
import { Inbox } from "../inbox.ts";
import { StoreError } from "../store_error.ts";
import { untilAborted } from "../until_aborted.ts";
import type { ClusterAccess } from "./access.ts";
import { openApiSocket } from "./api_socket.ts";
import type { ApiAnswer, ApiRequest, ApiTiming, ApiTransport } from "./transport.ts";

export class Http2Transport implements ApiTransport {
  readonly #access: ClusterAccess;
  readonly #timing: ApiTiming;
  readonly #closed = new AbortController();
  /** The last is the one in use; those before it end with their streams. */
  #sessions: Http2Session[] = [];
  #connecting: Promise<Http2Session> | undefined;
  #failures = 0;

  constructor(access: ClusterAccess, timing: ApiTiming) {
    this.#access = access;
    this.#timing = timing;
  }

  async send(request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer> {
    for (let attempt = 1; ; attempt++) {
      const kept = this.#usable;
      const session = kept ?? (await this.#connect(signal));
      try {
        return await this.#ask(session, request, signal);
      } catch (error) {
        signal.throwIfAborted();
        // A kept connection that the server ended in the meantime says nothing of the server; what is asked may be asked twice.
        if (kept && attempt === 1 && error instanceof SessionEnded) continue;
        if (error instanceof StoreError) throw error;
        throw this.#broken(error);
      }
    }
  }

  /** A refused client certificate is offered anew by a new connection only. */
  reconnect(): void {
    for (const session of this.#sessions) session.destroy(new Error("other credentials"));
  }

  [Symbol.dispose](): void {
    this.#closed.abort(new SessionEnded("closed"));
    for (const session of this.#sessions) session[Symbol.dispose]();
  }

  get #usable(): Http2Session | undefined {
    const last = this.#sessions.at(-1);
    return last?.usable ? last : undefined;
  }

  /** Shared by all who wait; none of them ends it for the others. */
  async #connect(signal: AbortSignal): Promise<Http2Session> {
    this.#connecting ??= this.#open(this.#closed.signal).finally(() => {
      this.#connecting = undefined;
    });
    const connecting = this.#connecting;
    connecting.catch(() => {});
    await untilAborted(connecting, signal);
    return await connecting;
  }

  async #open(signal: AbortSignal): Promise<Http2Session> {
    const { handshakeMs } = this.#timing;
    try {
      const credentials = await this.#access.credentials.current(signal);
      const socket = await openApiSocket(this.#access, credentials, this.#timing, this.#failures, signal);
      let session: Http2Session;
      try {
        session = await Http2Session.open(socket, this.#timing, handshakeMs, signal);
      } catch (error) {
        signal.throwIfAborted();
        throw this.#broken(error);
      }
      this.#sessions = [...this.#sessions.filter(({ ended }) => !ended), session];
      return session;
    } catch (error) {
      this.#failures++;
      throw error;
    }
  }

  async #ask(session: Http2Session, request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer> {
    signal.throwIfAborted();
    const { host, pathname } = new URL(this.#access.server);
    const { method, headers, body } = request;
    const path = `${pathname.replace(/\/$/, "")}${request.path}`;
    const stream = session.request({ ...headers, ":method": method, ":path": path, ":authority": host });
    const abort = () => stream.destroy(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    stream.once("close", () => signal.removeEventListener("abort", abort));
    // From the beginning: a short answer is whole and its stream closed before anybody asks for its body.
    const inbox = bodyOf(stream, session);
    const { requestMs } = this.#timing;
    const timer = setTimeout(() => {
      const text = `cannot use the API server at ${this.#access.server}: no answer within ${requestMs / 1_000} s`;
      stream.destroy(new StoreError("unreachable", this.#access.server, text));
    }, requestMs);
    try {
      const head = await headOf(stream, body);
      return {
        status: Number(head[":status"]),
        header: (name) => {
          const value = head[name];
          return Array.isArray(value) ? value[0] : value;
        },
        body: this.#body(stream, inbox, signal),
      };
    } finally {
      clearTimeout(timer);
    }
  }

  async *#body(
    stream: ClientHttp2Stream,
    inbox: Inbox<Uint8Array>,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        await inbox.filled();
        const chunks = inbox.take();
        if (chunks === "ended") return;
        yield* chunks;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof StoreError ? error : this.#broken(error);
    } finally {
      if (!stream.closed) stream.close();
    }
  }

  #broken(error: unknown): StoreError {
    const { server } = this.#access;
    const cause = error instanceof Error ? error.message : String(error);
    return new StoreError("unreachable", server, `cannot use the API server at ${server}: ${cause}`, { cause: error });
  }
}

/** What comes on a stream, for whoever takes it. The window of HTTP/2 bounds how much that is. */
function bodyOf(stream: ClientHttp2Stream, session: Http2Session): Inbox<Uint8Array> {
  const inbox = new Inbox<Uint8Array>();
  stream.on("data", (chunk: Uint8Array) => {
    session.received();
    inbox.push(chunk);
  });
  let whole = false;
  const fail = (error: Error) => {
    if (!whole) inbox.fail(error);
  };
  stream.once("end", () => {
    whole = true;
    inbox.end();
  });
  stream.once("error", fail);
  stream.once("close", () => fail(new SessionEnded("the connection ended in the middle of an answer")));
  return inbox;
}

function headOf(stream: ClientHttp2Stream, body: string | undefined): Promise<IncomingHttpHeaders> {
  return new Promise((resolve, reject) => {
    stream.once("response", resolve);
    stream.once("error", reject);
    stream.once("close", () => reject(new SessionEnded("the server ended the request without an answer")));
    if (body === undefined) stream.end();
    else stream.end(body);
  });
}
