// HTTP without TLS, for a proxy on this host (kubectl proxy) or an API server's insecure port: by the runtime's own client. What dies without a word is noticed by
// a watch's end only, which the server sets to some minutes.

import { StoreError } from "../store_error.ts";
import type { ClusterAccess } from "./access.ts";
import type { ApiAnswer, ApiRequest, ApiTiming, ApiTransport } from "./transport.ts";

export class FetchTransport implements ApiTransport {
  readonly #access: ClusterAccess;
  readonly #timing: ApiTiming;

  constructor(access: ClusterAccess, timing: ApiTiming) {
    this.#access = access;
    this.#timing = timing;
  }

  async send({ method, path, headers, body }: ApiRequest, signal: AbortSignal): Promise<ApiAnswer> {
    const { server, proxy } = this.#access;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), this.#timing.requestMs);
    const settings: BunFetchRequestInit = {
      method,
      headers,
      signal: AbortSignal.any([signal, limit.signal]),
      redirect: "manual",
      ...(body !== undefined && { body }),
      ...(proxy !== undefined && { proxy }),
    };
    try {
      // Without the runtime's own limit, a quiet watch would end after minutes.
      const response = await fetch(`${server}${path}`, { ...settings, timeout: false } as BunFetchRequestInit);
      return {
        status: response.status,
        header: (name) => response.headers.get(name) ?? undefined,
        body: this.#body(response, signal),
      };
    } catch (error) {
      signal.throwIfAborted();
      throw this.#broken(
        limit.signal.aborted ? new Error(`no answer within ${this.#timing.requestMs / 1_000} s`) : error,
      );
    } finally {
      clearTimeout(timer);
    }
  }

  [Symbol.dispose](): void {}

  async *#body(response: Response, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      if (response.body) yield* response.body as unknown as AsyncIterable<Uint8Array>;
    } catch (error) {
      signal.throwIfAborted();
      throw this.#broken(error);
    }
  }

  #broken(error: unknown): StoreError {
    const { server } = this.#access;
    const code = error instanceof Error && "code" in error ? `${error.code}, ` : "";
    const cause = error instanceof Error ? error.message : String(error);
    return new StoreError("unreachable", server, `cannot reach the API server at ${server}: ${code}${cause}`, {
      cause: error,
    });
  }
}
