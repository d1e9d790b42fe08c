// How a request gets to the API server, as far as the rest needs to know.

export interface ApiRequest {
  readonly method: "GET" | "PATCH" | "POST" | "PUT" | "DELETE";
  /** With its query, escaped: "/api/v1/nodes?watch=true". */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** An answer whose head has come. */
export interface ApiAnswer {
  readonly status: number;
  header(name: string): string | undefined;
  /** Throws StoreError "unreachable" when the connection breaks, the signal's reason when that aborts. Whoever leaves it early ends the request. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface ApiTransport extends Disposable {
  /** Throws StoreError with the cause, or the signal's reason; `signal` ends the body as well. */
  send(request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer>;
}

export interface ApiTiming {
  /** For the connection itself, in milliseconds: a packet that was dropped is sent again after a second, and a new connection is as quick. */
  readonly connectMs: number;
  /** For a proxy's answer, for TLS, and for the server's first word after it: a loaded server takes its time. */
  readonly handshakeMs: number;
  /** For the head of an answer, and for the whole of a short one. */
  readonly requestMs: number;
  /** Between two signs of life asked of a connection that is silent, and for the answer; less than 10 seconds in all. */
  readonly pingMs: number;
  readonly pongMs: number;
}

export const API_TIMING: ApiTiming = {
  connectMs: 1_000,
  handshakeMs: 5_000,
  requestMs: 10_000,
  pingMs: 5_000,
  pongMs: 3_500,
};
