// The few requests flannel makes of the Kubernetes API (core/v1): get and list Nodes, watch them, patch one's status, get a Pod. Answers that refuse become
// StoreErrors which name the right or the object that is missing.

import { isJsonObject } from "../../config/json_fields.ts";
import { StoreError, type StoreReason } from "../store_error.ts";
import type { ClusterAccess } from "./access.ts";
import { FetchTransport } from "./fetch_transport.ts";
import { Http2Transport } from "./http2_transport.ts";
import { JsonItems, JsonLines } from "./json_stream.ts";
import { nodeParser } from "./node_json.ts";
import type { ApiAnswer, ApiRequest, ApiTiming, ApiTransport } from "./transport.ts";

/** One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK, ERROR. */
export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

/** Bytes of an answer that is read as a whole. */
const MAX_ANSWER = 4 * 1024 * 1024;

/** Objects of which only type and metadata are told (Kubernetes API concepts, "Metadata-only fetches"); whole ones from a server that does not know how. */
const METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const NOT_ACCEPTABLE = 406;

export class KubeApi implements Disposable {
  readonly #access: ClusterAccess;
  readonly #transport: ApiTransport;
  readonly #userAgent: string;
  /** Something on the way has refused METADATA_ONLY. */
  #wholeWatch = false;

  constructor(access: ClusterAccess, timing: ApiTiming, version: string) {
    this.#access = access;
    this.#userAgent = `flanneld/${version} (linux/${process.arch === "x64" ? "amd64" : process.arch})`;
    const secure = access.server.startsWith("https:");
    this.#transport = secure ? new Http2Transport(access, timing) : new FetchTransport(access, timing);
  }

  get server(): string {
    return this.#access.server;
  }

  async node(name: string, signal: AbortSignal): Promise<unknown> {
    return await this.#json({ method: "GET", path: `/api/v1/nodes/${encodeURIComponent(name)}`, headers: {} }, signal);
  }

  async pod(namespace: string, name: string, signal: AbortSignal): Promise<unknown> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
    return await this.#json({ method: "GET", path, headers: {} }, signal);
  }

  /** The Node as it is after a strategic merge patch of its status; annotations may be among what is patched. */
  async patchStatus(name: string, patch: object, signal: AbortSignal): Promise<unknown> {
    const path = `/api/v1/nodes/${encodeURIComponent(name)}/status`;
    const headers = { "content-type": "application/strategic-merge-patch+json" };
    return await this.#json({ method: "PATCH", path, headers, body: JSON.stringify(patch) }, signal);
  }

  /**
   * All Nodes, one after another into `take`, without status but for the one named `own`; resolves with the list's resourceVersion. `version` "0": as the
   * server's cache has them.
   */
  async listNodes(version: string, own: string, take: (node: unknown) => void, signal: AbortSignal): Promise<string> {
    const query = `resourceVersion=${encodeURIComponent(version)}`;
    const answer = await this.#send({ method: "GET", path: `/api/v1/nodes?${query}`, headers: {} }, signal);
    const items = new JsonItems(nodeParser("value", own));
    return await this.#reading(async () => {
      for await (const chunk of answer.body) for (const item of items.take(chunk)) take(item);
      const list = items.rest();
      const metadata = isJsonObject(list) && isJsonObject(list.metadata) ? list.metadata : {};
      if (typeof metadata.resourceVersion !== "string") throw new SyntaxError("the list has no resourceVersion");
      return metadata.resourceVersion;
    });
  }

  /**
   * Changes of Nodes after `version`, a batch for each piece that arrives; ends when the server ends it, after about `seconds`. The Nodes have metadata alone,
   * or are as in a list where the server does not know how.
   */
  async *watchNodes(
    version: string,
    own: string,
    seconds: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly WatchEvent[], void, undefined> {
    const query = new URLSearchParams({
      allowWatchBookmarks: "true",
      resourceVersion: version,
      timeoutSeconds: `${seconds}`,
      watch: "true",
    });
    const answer = await this.#openWatch(`/api/v1/nodes?${query}`, signal);
    const lines = new JsonLines(nodeParser("object", own));
    const body = answer.body[Symbol.asyncIterator]();
    try {
      for (;;) {
        const { value, done } = await body.next();
        if (done) return;
        const events = lines.take(value).map(eventOf);
        if (events.length > 0) yield events;
      }
    } catch (error) {
      throw this.#unreadable(error);
    } finally {
      await body.return?.();
    }
  }

  async #openWatch(path: string, signal: AbortSignal): Promise<ApiAnswer> {
    if (!this.#wholeWatch) {
      const headers = { accept: METADATA_ONLY };
      const answer = await this.#send({ method: "GET", path, headers }, signal, NOT_ACCEPTABLE);
      if (answer.status !== NOT_ACCEPTABLE) return answer;
      this.#wholeWatch = true;
      await wholeText(answer);
    }
    return await this.#send({ method: "GET", path, headers: {} }, signal);
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  async #json(request: ApiRequest, signal: AbortSignal): Promise<unknown> {
    const answer = await this.#send(request, signal);
    const text = await wholeText(answer);
    return await this.#reading(async () => JSON.parse(text) as unknown);
  }

  /** The answer to a request that was granted, or has the status `taken`. Credentials that the server no longer takes are asked for anew, once. */
  async #send(request: ApiRequest, signal: AbortSignal, taken?: number): Promise<ApiAnswer> {
    for (let attempt = 1; ; attempt++) {
      const credentials = await this.#access.credentials.current(signal);
      const { token, username, password } = credentials;
      const basic = username !== undefined && `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
      const authorization = token !== undefined ? `Bearer ${token}` : basic;
      const headers = {
        accept: "application/json",
        "user-agent": this.#userAgent,
        ...(authorization ? { authorization } : {}),
        ...request.headers,
      };
      const answer = await this.#transport.send({ ...request, headers }, signal);
      if ((answer.status >= 200 && answer.status < 300) || answer.status === taken) return answer;
      const text = await wholeText(answer).catch(() => "");
      if (answer.status === 401) {
        this.#access.credentials.refused();
        if (credentials.certificate !== undefined && this.#transport instanceof Http2Transport)
          this.#transport.reconnect();
        if (attempt === 1) continue;
      }
      throw this.#refusal(request, answer, text);
    }
  }

  #refusal({ method, path }: ApiRequest, { status, header }: ApiAnswer, text: string): StoreError {
    const message = statusMessage(text) ?? text.trim().slice(0, 200);
    const { server, source } = this.#access;
    const what = `${method} ${path.replace(/\?.*/, "")}`;
    const [reason, advice] = adviceOn(status, method, path, source);
    return new StoreError(
      reason,
      server,
      `the API server at ${server} answers ${status} to ${what}: ${message}${advice}`,
      { retryAfterMs: retryAfterMs(header("retry-after")) },
    );
  }

  /** Runs what reads an answer: one that is no JSON is the server's fault, or of something in between. */
  async #reading<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      throw this.#unreadable(error);
    }
  }

  #unreadable(error: unknown): unknown {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) return error;
    const text = `cannot read the answer of the API server at ${this.server}: ${error.message}`;
    return new StoreError("unreachable", this.server, text, { cause: error });
  }
}

async function wholeText({ body }: ApiAnswer): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_ANSWER) throw new RangeError(`an answer has more than ${MAX_ANSWER} characters`);
  }
  return text;
}

/** Seconds, as kube-apiserver has it; no longer than a minute, whoever says so. */
function retryAfterMs(text: string | undefined): number {
  return text !== undefined && /^\d{1,5}$/.test(text) ? Math.min(Number(text), 60) * 1_000 : 0;
}

function eventOf(value: unknown): WatchEvent {
  if (!isJsonObject(value) || typeof value.type !== "string") throw new SyntaxError("a line of the watch is no event");
  return { type: value.type, object: value.object };
}

function statusMessage(text: string): string | undefined {
  try {
    const status: unknown = JSON.parse(text);
    return isJsonObject(status) && typeof status.message === "string" ? status.message : undefined;
  } catch {
    return undefined;
  }
}

function adviceOn(status: number, method: string, path: string, source: string): readonly [StoreReason, string] {
  switch (status) {
    case 401:
      return ["denied", `; check the credentials in ${source}`];
    case 403: {
      const right =
        method === "PATCH"
          ? "patch on nodes/status"
          : path.includes("/pods/")
            ? "get on pods"
            : "get, list and watch on nodes";
      return ["denied", `; flanneld's ClusterRole needs ${right}`];
    }
    case 404:
      return ["absent", ""];
    case 409:
      return ["conflict", ""];
    case 410:
      return ["compacted", ""];
    default:
      return [status >= 500 || status === 429 ? "unreachable" : "invalid", ""];
  }
}
