// The one connection to the cluster that all requests and watches of a registry share: opened when it is needed, to the first
// endpoint that works, and anew when it broke. It is the session manager of connect-node's gRPC transport, in place of the
// library's own, which knows one endpoint only and leaves errors of a dying session without a listener.

import type { ClientHttp2Stream, OutgoingHttpHeaders } from "node:http2";
import { Http2Session, SessionEnded } from "../http2_session.ts";
import { untilAborted } from "../until_aborted.ts";
import { connectionError } from "./connection_error.ts";
import { Endpoints, type Target } from "./endpoints.ts";
import { openSocket } from "./open_socket.ts";
import type { EtcdOptions } from "./options.ts";
import { TlsFiles } from "./tls_files.ts";

/** What requests are made to, as far as the transport knows. */
export const AUTHORITY = "http://etcd";

interface Connected {
  readonly session: Http2Session;
  readonly url: string;
}

export class EtcdConnection implements Disposable {
  readonly authority = AUTHORITY;
  readonly #options: EtcdOptions;
  readonly #endpoints: Endpoints;
  readonly #files: TlsFiles;
  readonly #sessions = new WeakMap<ClientHttp2Stream, Http2Session>();
  readonly #closed = new AbortController();
  /** Of these the current one is the last; the others end with their streams. */
  #open: Http2Session[] = [];
  #current: Connected | undefined;
  #connecting: Promise<Connected> | undefined;

  constructor(options: EtcdOptions) {
    this.#options = options;
    this.#endpoints = new Endpoints(options);
    this.#files = new TlsFiles(options.tls);
  }

  get description(): string {
    return this.#endpoints.description;
  }

  /** Where requests go now, for messages. */
  get endpoint(): string {
    return this.#current?.url ?? this.description;
  }

  /** Resolves once requests can be made. Throws StoreError with the cause for every endpoint, or the signal's reason. */
  async ready(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#current?.session.usable) return;
    // Shared by all who wait; none of them ends it for the others.
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    const connecting = this.#connecting;
    await untilAborted(connecting, signal);
  }

  /** What is at `url` does not serve: the next request goes elsewhere, or there anew when there is nothing else. */
  abandon(url: string, why: string): void {
    if (this.#current?.url !== url) return;
    this.#endpoints.avoid(url);
    this.#current.session.destroy(new Error(why));
    this.#current = undefined;
  }

  // For the transport.

  async request(method: string, path: string, headers: OutgoingHttpHeaders): Promise<ClientHttp2Stream> {
    const session = this.#current?.session;
    if (!session) throw new SessionEnded("not connected");
    const stream = session.request({ ...headers, ":method": method, ":path": path });
    this.#sessions.set(stream, session);
    return stream;
  }

  notifyResponseByteRead(stream: ClientHttp2Stream): void {
    this.#sessions.get(stream)?.received();
  }

  [Symbol.dispose](): void {
    this.#closed.abort(new SessionEnded("the registry was closed"));
    for (const session of this.#open) session[Symbol.dispose]();
    this.#current = undefined;
  }

  async #connect(): Promise<Connected> {
    const { signal } = this.#closed;
    this.#current = await this.#endpoints.connect((target) => this.#connectTo(target, signal), signal);
    this.#open = [...this.#open.filter(({ ended }) => !ended), this.#current.session];
    return this.#current;
  }

  async #connectTo(target: Target, signal: AbortSignal): Promise<Connected> {
    const { tls: files, timing } = this.#options;
    const texts = target.endpoint.secure ? this.#files.texts() : undefined;
    const begun = performance.now();
    const socket = await openSocket(target, { files, texts, protocol: "h2", now: Date.now }, signal);
    try {
      const limitMs = Math.max(target.connectMs - (performance.now() - begun), target.connectMs / 4);
      return { session: await Http2Session.open(socket, timing, limitMs, signal), url: target.endpoint.url };
    } catch (error) {
      signal.throwIfAborted();
      throw await connectionError(error, { target, files, texts }, Date.now());
    }
  }
}
