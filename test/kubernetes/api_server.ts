// A double of kube-apiserver for Nodes and Pods, over TLS and HTTP/2 (and 1.1), strict where the real one is: who may do what, content types, patch semantics,
// resource versions, watches from a cache that forgets. What it answers was recorded of the real one; recorded.test.ts replays that against it, and
// contract.ts holds for both.
//
// Run as a program it serves until it is killed, prints a line of JSON when it listens, and takes words on standard input:
//   compact            forget the history
//   forbid VERB … / allow    all requests of these verbs are refused to the user flannel
//   tokens T=USER …    these tokens hold from now on

import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { TLSSocket } from "node:tls";
import { ApiFailure, forbidden, notFound, tooLarge, unauthorized, unsupportedMediaType } from "./answers.ts";
import { type NodeEvent, NodeStore, type StoreOptions } from "./node_store.ts";

export interface ApiServerOptions extends StoreOptions {
  readonly host?: string;
  readonly port?: number;
  readonly certificate: string;
  readonly key: string;
  /** Authorities of client certificates, whose common name is the user. */
  readonly clientCa?: string;
  /** Token → user. */
  readonly tokens?: Readonly<Record<string, string>>;
  /** "namespace/name" → spec.nodeName. */
  readonly pods?: Readonly<Record<string, string>>;
  /** Milliseconds between bookmarks of a watch; the real one takes about a minute. */
  readonly bookmarkMs?: number;
  /** How long a list waits for a version that is still to come; the real one takes 3 s. */
  readonly futureMs?: number;
}

const MAX_BODY = 3 * 1024 * 1024;

/** What flannel's ClusterRole grants. */
const FLANNEL_RIGHTS = new Set(["get pods", "get nodes", "list nodes", "watch nodes", "patch nodes/status"]);

export interface Asked {
  readonly user: string;
  readonly verb: string;
  readonly path: string;
  readonly contentType: string | undefined;
  readonly userAgent: string | undefined;
  readonly body: string;
}

export class ApiServer implements AsyncDisposable {
  readonly store: NodeStore;
  /** Every request so far. */
  readonly asked: Asked[] = [];
  readonly #options: ApiServerOptions;
  readonly #server: ReturnType<typeof createSecureServer>;
  readonly #watches = new Set<() => void>();
  tokens: ReadonlyMap<string, string>;
  forbiddenVerbs: ReadonlySet<string> = new Set();

  private constructor(options: ApiServerOptions) {
    this.#options = options;
    this.store = new NodeStore(options);
    this.tokens = new Map(Object.entries(options.tokens ?? {}));
    const { certificate, key, clientCa } = options;
    this.#server = createSecureServer({
      cert: certificate,
      key,
      allowHTTP1: true,
      ...(clientCa !== undefined && { ca: clientCa, requestCert: true, rejectUnauthorized: false }),
    });
    this.#server.on("request", (request, response) => void this.#serve(request, response));
    this.#server.on("sessionError", () => {});
  }

  static async start(options: ApiServerOptions): Promise<ApiServer> {
    const server = new ApiServer(options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once("error", reject);
      server.#server.listen(options.port ?? 0, options.host ?? "127.0.0.1", resolve);
    });
    return server;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Ends all watches as a server does that is asked to stop. */
  endWatches(): void {
    for (const end of [...this.#watches]) end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.endWatches();
    this.#server.close();
  }

  async #serve(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    response.on("error", () => {});
    try {
      await this.#answer(request, response, await bodyOf(request));
    } catch (error) {
      const failure = error instanceof ApiFailure ? error : new ApiFailure(500, "InternalError", String(error));
      send(response, failure.code, failure.status, failure.headers);
    }
  }

  async #answer(request: Http2ServerRequest, response: Http2ServerResponse, body: string): Promise<void> {
    const url = new URL(request.url, "https://server");
    const user = this.#userOf(request);
    const target = targetOf(url.pathname);
    const verb = verbOf(request.method, target, url.searchParams);
    const contentType = request.headers["content-type"];
    this.asked.push({ user, verb, path: request.url, contentType, userAgent: request.headers["user-agent"], body });
    if (!target) throw new ApiFailure(404, "NotFound", "the server could not find the requested resource", {});
    const resource = `${target.resource}${target.subresource === undefined ? "" : `/${target.subresource}`}`;
    const granted =
      user === "admin" ||
      (user === "flannel" && FLANNEL_RIGHTS.has(`${verb} ${resource}`) && !this.forbiddenVerbs.has(verb));
    if (!granted) throw forbidden(user, verb, resource, target.name);
    if (target.resource === "pods") return this.#pod(response, target);
    const { name } = target;
    switch (verb) {
      case "get":
        return send(response, 200, this.store.get(name ?? ""));
      case "list":
        return await this.#list(response, url.searchParams);
      case "watch":
        return await this.#watch(response, url.searchParams);
      case "create":
        return send(response, 201, this.store.create(parsed(body)));
      case "delete":
        return send(response, 200, this.store.delete(name ?? ""));
      case "patch":
        return send(
          response,
          200,
          this.store.patch(name ?? "", patchKind(contentType), parsed(body), target.subresource === "status"),
        );
      default:
        throw new ApiFailure(
          405,
          "MethodNotAllowed",
          "the server does not allow this method on the requested resource",
          {},
        );
    }
  }

  #userOf(request: Http2ServerRequest): string {
    const [, token] = /^Bearer (.+)$/.exec(request.headers.authorization ?? "") ?? [];
    if (token !== undefined) {
      const user = this.tokens.get(token);
      if (user === undefined) throw unauthorized();
      return user;
    }
    const socket = (request.stream?.session?.socket ?? request.socket) as unknown as Partial<TLSSocket>;
    const shown = socket.authorized ? socket.getPeerCertificate?.() : undefined;
    return String(shown?.subject?.CN ?? "system:anonymous");
  }

  #pod(response: Http2ServerResponse, { namespace, name }: Target): void {
    const nodeName = this.#options.pods?.[`${namespace}/${name}`];
    if (nodeName === undefined) throw notFound(name ?? "", "pods");
    send(response, 200, {
      kind: "Pod",
      apiVersion: "v1",
      metadata: { namespace, name, resourceVersion: "1" },
      spec: { nodeName },
    });
  }

  async #list(response: Http2ServerResponse, query: URLSearchParams): Promise<void> {
    const asked = versionOf(query.get("resourceVersion"));
    if (asked !== undefined) await this.#untilVersion(asked);
    const items = this.store.all();
    const limit = Number(query.get("limit") ?? 0);
    // From the cache (a version is given) the limit means nothing.
    const page = limit > 0 && query.get("resourceVersion") === null ? items.slice(0, limit) : items;
    const metadata = {
      resourceVersion: `${this.store.version}`,
      ...(page.length < items.length && { continue: "more", remainingItemCount: items.length - page.length }),
    };
    send(response, 200, {
      kind: "NodeList",
      apiVersion: "v1",
      metadata,
      items: page.map(({ kind: _, apiVersion: __, ...item }) => item),
    });
  }

  async #untilVersion(asked: number): Promise<void> {
    if (asked <= this.store.version) return;
    await Bun.sleep(this.#options.futureMs ?? 3_000);
    if (asked > this.store.version) throw tooLarge(asked, this.store.version);
  }

  async #watch(response: Http2ServerResponse, query: URLSearchParams): Promise<void> {
    const asked = query.get("resourceVersion") ?? "0";
    const version = versionOf(asked) ?? 0;
    if (version > this.store.version) await this.#untilVersion(version);
    const bookmarks = query.get("allowWatchBookmarks") === "true" && !this.#options.flaws?.bookmarkMissing;
    response.writeHead(200, headers());
    const say = (type: string, object: object) => response.write(`${JSON.stringify({ type, object })}\n`);
    if (version === 0) {
      for (const object of this.store.all()) say("ADDED", object);
      if (bookmarks) say("BOOKMARK", bookmark(this.store.version, { "k8s.io/initial-events-end": "true" }));
    } else {
      let missed: readonly NodeEvent[];
      try {
        missed = this.store.since(version);
      } catch (error) {
        if (error instanceof ApiFailure) say("ERROR", error.status);
        response.end();
        return;
      }
      for (const { type, object } of missed) say(type, object);
    }
    const unlisten = this.store.listen(({ type, object }) => say(type, object));
    const everyMs = this.#options.bookmarkMs ?? 60_000;
    const timer = bookmarks ? setInterval(() => say("BOOKMARK", bookmark(this.store.version)), everyMs) : undefined;
    const seconds = Number(query.get("timeoutSeconds") ?? 1_800);
    const end = () => {
      unlisten();
      clearInterval(timer);
      clearTimeout(limit);
      this.#watches.delete(end);
      response.end();
    };
    const limit = setTimeout(end, seconds * 1_000);
    this.#watches.add(end);
    response.on("close", end);
  }
}

interface Target {
  readonly resource: "nodes" | "pods";
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

function targetOf(path: string): Target | undefined {
  const node = /^\/api\/v1\/nodes(?:\/([^/]+)(?:\/(status))?)?$/.exec(path);
  if (node) return { resource: "nodes", name: node[1] && decodeURIComponent(node[1]), subresource: node[2] };
  const pod = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)$/.exec(path);
  return pod ? { resource: "pods", namespace: pod[1], name: pod[2] } : undefined;
}

function verbOf(method: string, target: Target | undefined, query: URLSearchParams): string {
  switch (method) {
    case "GET":
      return target?.name !== undefined ? "get" : query.get("watch") === "true" ? "watch" : "list";
    case "POST":
      return "create";
    case "PUT":
      return "update";
    default:
      return method.toLowerCase();
  }
}

function patchKind(contentType: string | undefined): "strategic" | "merge" {
  if (contentType === "application/strategic-merge-patch+json") return "strategic";
  if (contentType === "application/merge-patch+json") return "merge";
  throw unsupportedMediaType();
}

function versionOf(text: string | null): number | undefined {
  if (text === null || text === "") return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new ApiFailure(400, "BadRequest", `resourceVersion: Invalid value: "${text}": invalid resource version`);
}

function bookmark(version: number, annotations?: object): object {
  const metadata = { resourceVersion: `${version}`, ...(annotations && { annotations }) };
  return {
    kind: "Node",
    apiVersion: "v1",
    metadata,
    spec: {},
    status: { daemonEndpoints: { kubeletEndpoint: { Port: 0 } } },
  };
}

function headers(): Record<string, string> {
  return { "content-type": "application/json", "cache-control": "no-cache, private", "audit-id": crypto.randomUUID() };
}

function send(
  response: Http2ServerResponse,
  status: number,
  object: object,
  more: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent) return void response.end();
  response.writeHead(status, { ...headers(), ...more });
  response.end(`${JSON.stringify(object)}\n`);
}

function parsed(body: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(body) as Record<string, unknown>;
  } catch {
    throw new ApiFailure(400, "BadRequest", "the object provided is unrecognized: invalid JSON");
  }
}

async function bodyOf(request: Http2ServerRequest): Promise<string> {
  let text = "";
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > MAX_BODY) throw new ApiFailure(413, "RequestEntityTooLarge", "limit is 3145728");
  }
  return text;
}
