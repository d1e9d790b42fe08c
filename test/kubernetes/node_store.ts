// The Nodes of the API server's double: versions, history for watches, and what each kind of write may change, as etcd and kube-apiserver's node strategy have it.

import { randomUUID } from "node:crypto";
import { ApiFailure, conflict, expired, notFound } from "./answers.ts";
import { mergePatch, strategicPatch } from "./patches.ts";

export interface NodeObject {
  readonly kind: "Node";
  readonly apiVersion: "v1";
  readonly metadata: Readonly<Record<string, unknown>> & {
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status: Readonly<Record<string, unknown>>;
}

export interface NodeEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  readonly object: NodeObject;
}

/** Ways to be wrong, for showing that the contract notices. */
export interface Flaws {
  /** A write leaves the resourceVersion as it was. */
  readonly versionNotRaised?: boolean;
  readonly bookmarkMissing?: boolean;
  /** Status patches change spec as well. */
  readonly specByStatus?: boolean;
  /** Metadata by themselves lack the uid. */
  readonly metadataWithoutUid?: boolean;
  readonly metadataWithoutAnnotations?: boolean;
}

export class NodeStore {
  readonly #nodes = new Map<string, NodeObject>();
  #history: NodeEvent[] = [];
  readonly #historyLength: number;
  readonly #listeners = new Set<(event: NodeEvent) => void>();
  readonly #flaws: Flaws;
  #version: number;

  constructor({ historyLength = 1_000, firstVersion = 200, flaws = {} }: StoreOptions = {}) {
    this.#historyLength = historyLength;
    this.#version = firstVersion;
    this.#flaws = flaws;
  }

  get version(): number {
    return this.#version;
  }

  all(): readonly NodeObject[] {
    return [...this.#nodes.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  get(name: string): NodeObject {
    const node = this.#nodes.get(name);
    if (!node) throw notFound(name);
    return node;
  }

  create(given: Readonly<Record<string, unknown>>): NodeObject {
    const metadata = record(given.metadata);
    const { name } = metadata;
    if (typeof name !== "string" || !/^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/.test(name)) {
      throw new ApiFailure(422, "Invalid", `Node "${String(name)}" is invalid: metadata.name: Invalid value`);
    }
    if (this.#nodes.has(name))
      throw new ApiFailure(409, "AlreadyExists", `nodes "${name}" already exists`, { name, kind: "nodes" });
    const created = {
      ...metadata,
      name,
      uid: randomUUID(),
      creationTimestamp: new Date().toISOString().replace(/\.\d+Z$/, "Z"),
    };
    return this.#write("ADDED", name, { metadata: created, spec: record(given.spec), status: record(given.status) });
  }

  /** `status`: through the subresource, which keeps spec; without it status is kept. Both take annotations and labels. */
  patch(name: string, kind: "strategic" | "merge", patch: unknown, status: boolean): NodeObject {
    const node = this.get(name);
    if (typeof patch !== "object" || patch === null || Array.isArray(patch)) {
      throw new ApiFailure(400, "BadRequest", "error decoding patch: json: cannot unmarshal into map");
    }
    const patched = record(kind === "strategic" ? strategicPatch(node, patch) : mergePatch(node, patch));
    const metadata = record(patched.metadata);
    const asked = record((patch as Record<string, unknown>).metadata).resourceVersion;
    if (asked !== undefined && asked !== node.metadata.resourceVersion) throw conflict(name);
    if (metadata.name !== name || metadata.uid !== node.metadata.uid) {
      throw new ApiFailure(422, "Invalid", `Node "${name}" is invalid: metadata: field is immutable`);
    }
    const bySpec = !status || this.#flaws.specByStatus;
    const next = {
      metadata,
      spec: bySpec ? record(patched.spec) : node.spec,
      status: status ? record(patched.status) : node.status,
    };
    checkCidrs(name, node.spec, next.spec);
    const { spec, status: before } = node;
    const old = { metadata: without(node.metadata), spec, status: before };
    if (same({ ...next, metadata: without(metadata) }, old)) return node;
    return this.#write("MODIFIED", name, next);
  }

  delete(name: string): NodeObject {
    const node = this.get(name);
    this.#nodes.delete(name);
    const version = ++this.#version;
    const gone = { ...node, metadata: { ...node.metadata, resourceVersion: `${version}` } };
    this.#tell({ type: "DELETED", version, object: gone });
    return gone;
  }

  /** Events after `version`. Throws Expired when they are no longer known. */
  since(version: number): readonly NodeEvent[] {
    const [first] = this.#history;
    if (first && version < first.version - 1) throw expired(version, first.version - 1);
    if (!first && version < this.#version) throw expired(version, this.#version);
    return this.#history.filter((event) => event.version > version);
  }

  /** Forgets all history, as etcd's compaction and a restarted watch cache do. */
  compact(): void {
    this.#history = [];
  }

  /** Versions begin again, those of all nodes too. */
  restore(version: number): void {
    this.#history = [];
    this.#version = version;
    for (const [name, node] of this.#nodes) {
      const metadata = { ...node.metadata, resourceVersion: `${version}` };
      this.#nodes.set(name, { ...node, metadata });
    }
  }

  listen(listener: (event: NodeEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #write(
    type: "ADDED" | "MODIFIED",
    name: string,
    { metadata, spec, status }: { metadata: object; spec: object; status: object },
  ): NodeObject {
    const version = this.#flaws.versionNotRaised && type === "MODIFIED" ? this.#version : ++this.#version;
    const object = {
      kind: "Node",
      apiVersion: "v1",
      metadata: inOrder({ ...metadata, resourceVersion: `${version}` }),
      spec,
      status,
    } as NodeObject;
    this.#nodes.set(name, object);
    this.#tell({ type, version, object });
    return object;
  }

  #tell(event: NodeEvent): void {
    this.#history.push(event);
    if (this.#history.length > this.#historyLength) this.#history.splice(0, this.#history.length - this.#historyLength);
    for (const listener of this.#listeners) listener(event);
  }
}

export interface StoreOptions {
  readonly historyLength?: number;
  readonly firstVersion?: number;
  readonly flaws?: Flaws;
}

/** podCIDR and podCIDRs are set once, and agree. */
function checkCidrs(
  name: string,
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): void {
  const cidrs = (spec: Readonly<Record<string, unknown>>) => JSON.stringify([spec.podCIDR, spec.podCIDRs]);
  if (cidrs(before) === cidrs(after) || (before.podCIDR === undefined && before.podCIDRs === undefined)) return;
  const message = `Node "${name}" is invalid: spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid`;
  throw new ApiFailure(422, "Invalid", message);
}

/** As kube-apiserver writes metadata (metav1.ObjectMeta); what is not listed comes between. */
const FIRST = ["name", "uid", "resourceVersion", "creationTimestamp", "labels", "annotations"];
const LAST = ["ownerReferences", "finalizers", "managedFields"];

function inOrder(metadata: Readonly<Record<string, unknown>>): object {
  const place = (name: string) => {
    const first = FIRST.indexOf(name);
    return first >= 0 ? first : FIRST.length + 1 + LAST.indexOf(name);
  };
  return Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => place(a) - place(b)));
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function without({ resourceVersion: _, ...rest }: Readonly<Record<string, unknown>>): object {
  return rest;
}

function same(a: object, b: object): boolean {
  return Bun.deepEquals(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
}
