// Requests of the API server word by word, over flanneld's own transport, for tests of what the server says.

import type { ClusterAccess } from "../../src/subnet/kubernetes/access.ts";
import { Http2Transport } from "../../src/subnet/kubernetes/http2_transport.ts";
import { JsonLines } from "../../src/subnet/kubernetes/json_stream.ts";
import { API_TIMING, type ApiAnswer, type ApiRequest } from "../../src/subnet/kubernetes/transport.ts";

export const STRATEGIC = "application/strategic-merge-patch+json";

/** JSON that a test looks into. */
// biome-ignore lint/suspicious/noExplicitAny: what a server says is looked at member by member
export type Json = any;

export interface Said {
  readonly status: number;
  readonly json: Json;
  header(name: string): string | undefined;
}

export interface Event {
  readonly type: string;
  readonly object: Json;
}

interface Question {
  readonly method: ApiRequest["method"];
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept: string;
}

const NEVER = new AbortController().signal;
const WATCH_LIMIT_MS = 15_000;

export class Caller implements Disposable {
  readonly #access: ClusterAccess;
  readonly #transport: Http2Transport;

  constructor(access: ClusterAccess) {
    this.#access = access;
    this.#transport = new Http2Transport(access, API_TIMING);
  }

  async ask(
    method: ApiRequest["method"],
    path: string,
    body?: unknown,
    contentType = "application/json",
    accept = "application/json",
  ): Promise<Said> {
    const answer = await this.#send({ method, path, body, contentType, accept }, NEVER);
    let text = "";
    for await (const chunk of answer.body) text += Buffer.from(chunk).toString();
    return { status: answer.status, json: JSON.parse(text), header: (name) => answer.header(name) };
  }

  /** A strategic merge patch of a Node's status, as flannel makes them. */
  patch(name: string, body: unknown): Promise<Said> {
    return this.ask("PATCH", `/api/v1/nodes/${name}/status`, body, STRATEGIC);
  }

  /** What a watch of Nodes tells, until `enough` of it or its end. */
  async watch(
    query: Readonly<Record<string, string>>,
    enough: (events: readonly Event[]) => boolean,
    accept = "application/json",
  ): Promise<Event[]> {
    const all = new URLSearchParams({ timeoutSeconds: "10", ...query, watch: "true" });
    const limit = AbortSignal.timeout(WATCH_LIMIT_MS);
    const { body } = await this.#send({ method: "GET", path: `/api/v1/nodes?${all}`, accept }, limit);
    const lines = new JsonLines();
    const events: Event[] = [];
    for await (const chunk of body) {
      events.push(...([...lines.take(chunk)] as Event[]));
      if (enough(events)) break;
    }
    return events;
  }

  async #send({ method, path, body, contentType, accept }: Question, signal: AbortSignal): Promise<ApiAnswer> {
    const { token } = await this.#access.credentials.current(signal);
    const headers = {
      accept,
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && contentType !== undefined && { "content-type": contentType }),
    };
    const text = typeof body === "string" || body === undefined ? body : JSON.stringify(body);
    return await this.#transport.send({ method, path, headers, ...(text !== undefined && { body: text }) }, signal);
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }
}
