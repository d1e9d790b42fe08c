// Requests to etcd's v3 API: each with a time limit, with the token of --etcd-username where there is one, and with the demand
// that the member knows a leader (metadata "hasleader"), so that one cut off from the others says so at once. What fails
// because of the member makes the next request go to another; what fails because of the token is made again with a new one.

import { type CallOptions, type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { StoreError } from "../store_error.ts";
import { untilAborted } from "../until_aborted.ts";
import { AUTHORITY, EtcdConnection } from "./connection.ts";
import type { EtcdOptions } from "./options.ts";
import { Auth, KV, Lease, Watch, type WatchCreateRequest, type WatchResponse } from "./rpc.gen.ts";
import { type Asked, isBroken, isMemberFailing, isTokenRefused, type Operation, rpcError } from "./rpc_error.ts";

export interface Methods {
  readonly kv: Client<typeof KV>;
  readonly lease: Client<typeof Lease>;
}

/** The start of a watch, as etcd takes it. */
export type WatchStart = Pick<WatchCreateRequest, "key" | "rangeEnd" | "startRevision" | "progressNotify" | "fragment">;

export class RpcClient implements Disposable {
  readonly #options: EtcdOptions;
  readonly #connection: EtcdConnection;
  readonly #methods: Methods;
  readonly #watch: Client<typeof Watch>;
  readonly #auth: Client<typeof Auth>;
  readonly #closed = new AbortController();
  /** undefined: to be asked for. */
  #token: Promise<string> | undefined;

  constructor(options: EtcdOptions) {
    this.#options = options;
    this.#connection = new EtcdConnection(options);
    const transport = createGrpcTransport({
      baseUrl: AUTHORITY,
      sessionManager: this.#connection,
      acceptCompression: [],
    });
    this.#methods = { kv: createClient(KV, transport), lease: createClient(Lease, transport) };
    this.#watch = createClient(Watch, transport);
    this.#auth = createClient(Auth, transport);
  }

  get description(): string {
    return this.#connection.description;
  }

  /** One request; one that only reads is made again, once, when the connection broke under it. */
  async call<T>(
    operation: Operation,
    reads: boolean,
    request: (methods: Methods, options: CallOptions) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const stop = AbortSignal.any([signal, this.#closed.signal]);
    const timeoutMs = this.#options.timing.requestMs;
    let broken = false;
    let refused = false;
    for (;;) {
      let held: Promise<string> | undefined;
      let endpoint = "";
      try {
        await this.#connection.ready(stop);
        endpoint = this.#connection.endpoint;
        const asked = this.#authenticated(stop);
        held = this.#token;
        const headers = headersWith(await asked);
        return await request(this.#methods, { signal: stop, timeoutMs, headers });
      } catch (error) {
        signal.throwIfAborted();
        if (isMemberFailing(error)) this.#connection.abandon(endpoint, "the member does not serve");
        if (isTokenRefused(error) && !refused && held !== undefined) {
          refused = true;
          this.#forget(held);
        } else if (reads && !broken && isBroken(error) && !this.#closed.signal.aborted) {
          broken = true;
        } else {
          throw this.#errorOf(error, operation, endpoint);
        }
      }
    }
  }

  /** What a watch says, beginning with `created`. Ends when `signal` aborts; throws StoreError when it breaks. */
  async *watch(
    operation: Operation,
    start: WatchStart,
    signal: AbortSignal,
  ): AsyncGenerator<WatchResponse, void, undefined> {
    for (let attempt = 1; !signal.aborted; attempt++) {
      const stopping = new AbortController();
      const stop = AbortSignal.any([signal, this.#closed.signal, stopping.signal]);
      const { requestMs } = this.#options.timing;
      let endpoint = "";
      let begun = false;
      const late = setTimeout(() => this.#connection.abandon(endpoint, `no watch in ${requestMs / 1000} s`), requestMs);
      try {
        await this.#connection.ready(stop);
        endpoint = this.#connection.endpoint;
        const headers = headersWith(await this.#authenticated(stop));
        for await (const response of this.#watch.watch(watchRequests(start, stop), { signal: stop, headers })) {
          clearTimeout(late);
          begun = true;
          yield response;
        }
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (isMemberFailing(error)) this.#connection.abandon(endpoint, "the member does not serve");
        if (isTokenRefused(error)) this.renewToken();
        // The connection may have been a dead one of before.
        const again = attempt === 1 && !begun && isBroken(error) && !this.#closed.signal.aborted;
        if (!again) throw this.#errorOf(error, operation, endpoint);
      } finally {
        clearTimeout(late);
        stopping.abort();
      }
    }
  }

  /** The next request asks for a new token; false when there is no user to ask for. */
  renewToken(): boolean {
    this.#token = undefined;
    return this.#options.username !== "";
  }

  /** A StoreError for what a watch was told within its stream, in the text of a request's error. */
  refusal(operation: Operation, text: string): StoreError {
    const { endpoint } = this.#connection;
    const error = rpcError(new ConnectError(text, Code.Unavailable), this.#asked(operation, endpoint));
    return error instanceof StoreError ? error : new StoreError("unreachable", endpoint, text);
  }

  /** `error` about `operation`, as the StoreError that it is. */
  #errorOf(error: unknown, operation: Operation, endpoint: string): unknown {
    return rpcError(error, this.#asked(operation, endpoint === "" ? this.description : endpoint));
  }

  #asked(operation: Operation, endpoint: string): Asked {
    const { username, timing } = this.#options;
    return { operation, endpoint, username, requestMs: timing.requestMs };
  }

  /** The token, "" where none is needed. Asked for once, by whoever comes first. */
  #authenticated(signal: AbortSignal): Promise<string> {
    const { username: name, password, timing } = this.#options;
    if (name === "") return Promise.resolve("");
    if (!this.#token) {
      const options = { signal: this.#closed.signal, timeoutMs: timing.requestMs, headers: headersWith("") };
      const asked = this.#auth.authenticate({ name, password }, options).then(
        ({ token }) => token,
        (error: unknown) => {
          // A cluster without users takes everybody, as it does with etcd's own clients.
          if (error instanceof Error && /authentication is not enabled/.test(error.message)) return "";
          this.#forget(asked);
          throw error;
        },
      );
      this.#token = asked;
    }
    return untilAborted(this.#token, signal);
  }

  #forget(token: Promise<string>): void {
    if (this.#token === token) this.#token = undefined;
  }

  [Symbol.dispose](): void {
    const { description } = this;
    this.#closed.abort(new StoreError("unreachable", description, `cannot use etcd at ${description}: it was closed`));
    this.#connection[Symbol.dispose]();
  }
}

function headersWith(token: string): Record<string, string> {
  return token === "" ? { hasleader: "true" } : { hasleader: "true", token };
}

/** The request that begins the watch; then the stream stays open until `signal` aborts. */
async function* watchRequests(start: WatchStart, signal: AbortSignal) {
  yield { requestUnion: { case: "createRequest" as const, value: start } };
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
