// As much of an API server as kubectl needs for apply, rollout status and delete: discovery of the kinds that an installation has, and their objects, which are kept
// as they are sent. Over plain HTTP; what kubectl makes of a manifest is tested with it, not what a cluster does.

import { isJsonObject } from "../../src/config/json_fields.ts";

interface Kind {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
  readonly namespaced: boolean;
}

const RBAC = "rbac.authorization.k8s.io";
const KINDS: readonly Kind[] = [
  { group: "", kind: "Namespace", name: "namespaces", namespaced: false },
  { group: "", kind: "ServiceAccount", name: "serviceaccounts", namespaced: true },
  { group: "", kind: "ConfigMap", name: "configmaps", namespaced: true },
  { group: "", kind: "Secret", name: "secrets", namespaced: true },
  { group: "apps", kind: "DaemonSet", name: "daemonsets", namespaced: true },
  { group: RBAC, kind: "ClusterRole", name: "clusterroles", namespaced: false },
  { group: RBAC, kind: "ClusterRoleBinding", name: "clusterrolebindings", namespaced: false },
];
const GROUPS = ["apps", RBAC];

const OPENAPI = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

type Json = Record<string, unknown>;
/** As a controller leaves a DaemonSet whose pods all run. */
const DONE = { observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2 };

export class ObjectServer implements Disposable {
  /** Path → object. */
  readonly objects = new Map<string, Json>();
  /** "POST /api/v1/namespaces", without those that only read. */
  readonly changes: string[] = [];
  readonly #server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: (request) => this.#answer(request) });

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  /** Environment of a kubectl that talks to this server alone. */
  kubeconfig(): string {
    const cluster = { name: "double", cluster: { server: this.url } };
    const context = { name: "double", context: { cluster: "double", user: "double" } };
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [cluster],
      contexts: [context],
      users: [{ name: "double", user: {} }],
      "current-context": "double",
    });
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    // No schemas at all, in the form that kubectl asks for: it then checks nothing, which chart.test.ts does.
    if (pathname === "/openapi/v2") return new Response("", { headers: { "content-type": OPENAPI } });
    const found = discovered(pathname);
    if (found) return Response.json(found);
    const kind = kindOf(pathname);
    if (!kind) return status(404, "NotFound");
    if (request.method === "GET" && pathname.endsWith(`/${kind.name}`)) return this.#list(pathname, kind, searchParams);
    if (request.method === "GET") {
      const object = this.objects.get(pathname);
      return object ? Response.json(object) : status(404, "NotFound");
    }
    this.changes.push(`${request.method} ${pathname}`);
    const body = request.method === "DELETE" ? {} : ((await request.json()) as Json);
    return this.#change(request.method, pathname, body);
  }

  #change(method: string, path: string, body: Json): Response {
    if (method === "POST") {
      const metadata = { ...(body.metadata as Json), uid: crypto.randomUUID(), resourceVersion: "1", generation: 1 };
      const object = { ...body, metadata, ...(body.kind === "DaemonSet" && { status: DONE }) };
      this.objects.set(`${path}/${(body.metadata as Json).name}`, object);
      return Response.json(object, { status: 201 });
    }
    const object = this.objects.get(path);
    if (!object) return status(404, "NotFound");
    if (method === "DELETE") {
      this.objects.delete(path);
      return Response.json({ kind: "Status", apiVersion: "v1", status: "Success" });
    }
    const patched = mergePatch(object, body) as Json;
    this.objects.set(path, patched);
    return Response.json(patched);
  }

  /** Of one object, by its name: what `rollout status` and `delete` wait with. */
  #list(path: string, { kind, group }: Kind, query: URLSearchParams): Response {
    const name = /metadata\.name=([\w-]+)/.exec(query.get("fieldSelector") ?? "")?.[1] ?? "";
    const object = this.objects.get(`${path}/${name}`);
    if (query.get("watch") === "true" || query.get("watch") === "1") {
      return new Response(object ? `${JSON.stringify({ type: "ADDED", object })}\n` : "", {
        headers: { "content-type": "application/json" },
      });
    }
    const apiVersion = group === "" ? "v1" : `${group}/v1`;
    const items = object ? [object] : [];
    return Response.json({ kind: `${kind}List`, apiVersion, metadata: { resourceVersion: "1" }, items });
  }

  [Symbol.dispose](): void {
    void this.#server.stop(true);
  }
}

function discovered(path: string): object | undefined {
  if (path === "/version") return { major: "1", minor: "32", gitVersion: "v1.32.0" };
  if (path === "/api") return { kind: "APIVersions", versions: ["v1"] };
  if (path === "/apis") {
    const groups = GROUPS.map((name) => {
      const version = { groupVersion: `${name}/v1`, version: "v1" };
      return { name, versions: [version], preferredVersion: version };
    });
    return { kind: "APIGroupList", apiVersion: "v1", groups };
  }
  const [, group] = /^\/(?:api\/v1|apis\/([^/]+)\/v1)$/.exec(path) ?? [undefined, undefined];
  if (group === undefined && path !== "/api/v1") return undefined;
  const verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
  const resources = KINDS.filter((kind) => kind.group === (group ?? "")).map(({ group: _, ...kind }) => {
    return { ...kind, singularName: kind.kind.toLowerCase(), verbs };
  });
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion: group ? `${group}/v1` : "v1", resources };
}

/** By the resource in /api/v1/namespaces/NAMESPACE/RESOURCE/NAME and the like. */
function kindOf(path: string): Kind | undefined {
  const [, group = "", rest = ""] = /^\/(?:api\/v1|apis\/([^/]+)\/v1)\/(?:namespaces\/[^/]+\/)?(.+)$/.exec(path) ?? [];
  const [first = ""] = rest.split("/");
  const found = KINDS.find(({ name, group: of }) => name === first && of === group);
  return found ?? (path.startsWith("/api/v1/namespaces") ? KINDS[0] : undefined);
}

/** RFC 7386; enough for what kubectl sends here, whose lists are whole. */
function mergePatch(object: unknown, patch: unknown): unknown {
  if (!isJsonObject(patch)) return patch;
  const merged: Json = isJsonObject(object) ? { ...object } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else if (!key.startsWith("$")) merged[key] = mergePatch(merged[key], value);
  }
  return merged;
}

function status(code: number, reason: string): Response {
  return Response.json({ kind: "Status", apiVersion: "v1", status: "Failure", reason, code }, { status: code });
}
