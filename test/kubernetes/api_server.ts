// A double of kube-apiserver for Nodes and Pods, over TLS and HTTP/2 (and 1.1), strict where the real one is: who may do what, content types, patch semantics,
// resource versions, watches from a cache that forgets. What it answers was recorded of the real one; recorded.test.ts replays that against it, and
// contract.ts holds for both.

import {
  createSecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { TLSSocket } from "node:tls";
import {
  ApiFailure,
  bookmark,
  expired,
  forbidden,
  notFound,
  tooLarge,
  tooManyRequests,
  unauthorized,
  unsupportedMediaType,
} from "./answers.ts";
import { type Form, formFor, inForm, listInForm, type MetadataOnly } from "./forms.ts";
import { type NodeEvent, NodeStore, type StoreOptions } from "./node_store.ts";

export interface ApiServerOptions extends StoreOptions {
  readonly host?: string;
  readonly port?: number;
  readonly certificate: string;
  readonly key: string;
  /** Authorities of client certificates, whose common name is the user. */
  readonly clientCa?: string;
  /** Shared by servers of one cluster, as etcd is. */
  readonly store?: NodeStore;
  readonly gate?: Gate;
  /** Every request goes here too. */
  readonly asked?: Asked[];
  /** "namespace/name" → spec.nodeName. */
  readonly pods?: Readonly<Record<string, string>>;
  /** Milliseconds between bookmarks of a watch; the real one takes about a minute. */
  readonly bookmarkMs?: number;
  /** How long a list waits for a version that is still to come; the real one takes 3 s. */
  readonly futureMs?: number;
  /** What becomes of a wish for metadata alone; "granted" without. */
  readonly metadataOnly?: MetadataOnly;
}

/** Who is who, and what the user flannel may not do just now. */
export interface Gate {
  /** Token → user. */
  tokens: ReadonlyMap<string, string>;
  forbiddenVerbs: ReadonlySet<string>;
  /** "429" or "503": every request of flannel is answered so, with a Retry-After of a second. */
  overloaded?: number;
}

export const openGate = (): Gate => ({
  tokens: new Map([
    ["flannel-token", "flannel"],
    ["admin-token", "admin"],
  ]),
  forbiddenVerbs: new Set(),
});

const MAX_BODY = 3 * 1024 * 1024;
/** Of answers that a client has still to take, before node:http2 refuses its next request: a list of five thousand Nodes is 60 MB; the real one does not refuse. */
const MAX_SESSION_MB = 1_000;

/** What flannel's ClusterRole grants. */
const FLANNEL_RIGHTS = new Set(["get pods", "get nodes", "list nodes", "watch nodes", "patch nodes/status"]);

export interface Asked {
  readonly user: string;
  readonly verb: string;
  readonly path: string;
  readonly contentType: string | undefined;
  readonly accept: string | undefined;
  readonly userAgent: string | undefined;
  readonly body: string;
}

/** A request whose user is known. */
export interface Question {
  readonly user: string;
  readonly method: string;
  readonly url: string;
  readonly contentType: string | undefined;
  readonly accept: string | undefined;
  readonly userAgent: string | undefined;
  readonly body: string;
}

type Answer =
  | { readonly kind: "object"; readonly status: number; readonly object: object }
  | { readonly kind: "watch"; readonly query: URLSearchParams; readonly form: Form };

const object = (given: object, status = 200): Answer => ({ kind: "object", status, object: given });

interface NodeList {
  readonly kind: "NodeList";
  readonly apiVersion: "v1";
  readonly metadata: object;
  readonly items: readonly object[];
}

export class ApiServer implements AsyncDisposable {
  readonly store: NodeStore;
  readonly gate: Gate;
  /** Every request so far. */
  readonly asked: Asked[];
  readonly #options: ApiServerOptions;
  readonly #server: ReturnType<typeof createSecureServer>;
  readonly #watches = new Set<() => void>();
  readonly #sessions = new Set<ServerHttp2Session>();
  /** The watch cache begins with the server. */
  readonly #cacheFrom: number;

  private constructor(options: ApiServerOptions) {
    this.#options = options;
    this.store = options.store ?? new NodeStore(options);
    this.gate = options.gate ?? openGate();
    this.asked = options.asked ?? [];
    this.#cacheFrom = this.store.version;
    const { certificate, key, clientCa } = options;
    this.#server = createSecureServer({
      cert: certificate,
      key,
      allowHTTP1: true,
      maxSessionMemory: MAX_SESSION_MB,
      ...(clientCa !== undefined && { ca: clientCa, requestCert: true, rejectUnauthorized: false }),
    });
    this.#server.on("request", (request, response) => void this.#serve(request, response));
    this.#server.on("sessionError", () => {});
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
    });
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

  /** Ends at once, as one that is killed: connections break. */
  crash(): void {
    this.#server.close();
    for (const session of this.#sessions) session.destroy();
    for (const end of [...this.#watches]) end();
  }

  /** As SIGTERM: watches end, connections are asked to close, and then they are. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.endWatches();
    for (const session of this.#sessions) session.goaway();
    await Bun.sleep(20);
    this.crash();
  }

  /** What the API says to anything but a watch. Throws ApiFailure. */
  async answer({ user, method, url, contentType, accept, userAgent, body }: Question): Promise<Answer> {
    const { pathname, searchParams: query } = new URL(url, "https://server");
    const target = targetOf(pathname);
    const verb = verbOf(method, target, query);
    this.asked.push({ user, verb, path: url, contentType, accept, userAgent, body });
    if (!target) throw new ApiFailure(404, "NotFound", "the server could not find the requested resource", {});
    const resource = `${target.resource}${target.subresource === undefined ? "" : `/${target.subresource}`}`;
    const { overloaded, forbiddenVerbs } = this.gate;
    if (user === "flannel" && overloaded) throw tooManyRequests(overloaded);
    const granted =
      user === "admin" ||
      (user === "flannel" && FLANNEL_RIGHTS.has(`${verb} ${resource}`) && !forbiddenVerbs.has(verb));
    if (!granted) throw forbidden(user, verb, resource.replace(/\/.*/, ""), target.name, target.subresource);
    if (target.resource === "pods") return object(this.#pod(target));
    const name = target.name ?? "";
    const form = formFor(accept, this.#options.metadataOnly);
    switch (verb) {
      case "get":
        return object(this.#inForm(form, this.store.get(name)));
      case "list":
        return object(listInForm(form, await this.#list(query)));
      case "watch":
        return { kind: "watch", query, form };
      case "create":
        return object(this.store.create(parsed(body)), 201);
      case "delete":
        return object(this.store.delete(name));
      case "patch":
        return object(this.store.patch(name, patchKind(contentType), parsed(body), target.subresource === "status"));
      default: {
        const message = "the server does not allow this method on the requested resource";
        throw new ApiFailure(405, "MethodNotAllowed", message, {});
      }
    }
  }

  async #serve(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    response.on("error", () => {});
    try {
      const body = await bodyOf(request);
      const { method, url, headers: given } = request;
      const contentType = given["content-type"];
      const { accept } = given;
      const userAgent = given["user-agent"];
      const user = this.#userOf(request);
      const answer = await this.answer({ user, method, url, contentType, accept, userAgent, body });
      if (answer.kind === "watch") await this.#watch(response, answer.query, answer.form);
      else send(response, answer.status, answer.object);
    } catch (error) {
      const failure = error instanceof ApiFailure ? error : new ApiFailure(500, "InternalError", String(error));
      send(response, failure.code, failure.status, failure.headers);
    }
  }

  #userOf(request: Http2ServerRequest): string {
    const [, token] = /^Bearer (.+)$/.exec(request.headers.authorization ?? "") ?? [];
    if (token !== undefined) {
      const user = this.gate.tokens.get(token);
      if (user === undefined) throw unauthorized();
      return user;
    }
    const socket = (request.stream?.session?.socket ?? request.socket) as unknown as Partial<TLSSocket>;
    const shown = socket.authorized ? socket.getPeerCertificate?.() : undefined;
    return String(shown?.subject?.CN ?? "system:anonymous");
  }

  #pod({ namespace, name }: Target): object {
    const nodeName = this.#options.pods?.[`${namespace}/${name}`];
    if (nodeName === undefined) throw notFound(name ?? "", "pods");
    return {
      kind: "Pod",
      apiVersion: "v1",
      metadata: { namespace, name, resourceVersion: "1" },
      spec: { nodeName },
    };
  }

  async #list(query: URLSearchParams): Promise<NodeList> {
    // Nobody here reads page by page.
    if (query.get("continue") !== null)
      throw new ApiFailure(
        410,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result.",
      );
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
    return {
      kind: "NodeList",
      apiVersion: "v1",
      metadata,
      items: page.map(({ kind: _, apiVersion: __, ...item }) => item),
    };
  }

  async #untilVersion(asked: number): Promise<void> {
    if (asked <= this.store.version) return;
    await Bun.sleep(this.#options.futureMs ?? 3_000);
    if (asked > this.store.version) throw tooLarge(asked, this.store.version);
  }

  #inForm(form: Form, node: object): object {
    return inForm(form, node, this.#options.flaws);
  }

  async #watch(response: Http2ServerResponse, query: URLSearchParams, form: Form): Promise<void> {
    const asked = query.get("resourceVersion") ?? "0";
    const version = versionOf(asked) ?? 0;
    if (version > this.store.version) await this.#untilVersion(version);
    const bookmarks = query.get("allowWatchBookmarks") === "true" && !this.#options.flaws?.bookmarkMissing;
    response.writeHead(200, headers());
    const say = (type: string, object: object) => {
      const said = type === "ERROR" ? object : this.#inForm(form, object);
      response.write(`${JSON.stringify({ type, object: said })}\n`);
    };
    if (version === 0 || query.get("sendInitialEvents") === "true") {
      for (const object of this.store.all()) say("ADDED", object);
      if (bookmarks) say("BOOKMARK", bookmark(this.store.version, { "k8s.io/initial-events-end": "true" }));
    } else {
      let missed: readonly NodeEvent[];
      try {
        if (version < this.#cacheFrom) throw expired(version, this.#cacheFrom);
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
