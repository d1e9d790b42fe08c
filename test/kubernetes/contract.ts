// What flannel relies on of a Kubernetes API server, clause by clause. Held against the double and, where KUBECONFIG_UNDER_TEST names an administrator's kubeconfig,
// against a real server: then the double is right as far as flannel goes. Nodes are created and deleted through the server itself.

import { expect } from "bun:test";
import { randomUUID } from "node:crypto";
import { type Caller, type Json, STRATEGIC } from "./caller.ts";

const NODES = "/api/v1/nodes";
const PREFIX = "flannel.alpha.coreos.com/";

export interface World {
  readonly admin: Caller;
  /** A name that no other Node has. */
  newName(): string;
}

/** A world over a server; what is made in it is removed at its end. */
export class Cluster implements World, AsyncDisposable {
  readonly admin: Caller;
  readonly #names: string[] = [];

  constructor(admin: Caller) {
    this.admin = admin;
  }

  newName(): string {
    const name = `flannel-contract-${randomUUID().slice(0, 13)}`;
    this.#names.push(name);
    return name;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#names) await this.admin.ask("DELETE", `${NODES}/${name}`);
    this.admin[Symbol.dispose]();
  }
}

/** A subnet that no cluster has twice: random within the documentation's own network. */
const cidr = () => `198.18.${Math.floor(Math.random() * 256)}.0/24`;

async function create(world: World, spec: object = {}): Promise<Json> {
  const { admin } = world;
  const name = world.newName();
  const metadata = { name, annotations: { "example.com/other": "stays" } };
  const made = await admin.ask("POST", NODES, { apiVersion: "v1", kind: "Node", metadata, spec });
  expect(made.status).toBe(201);
  await admin.patch(name, { status: { conditions: [{ type: "Ready", status: "True", reason: "Test" }] } });
  return (await admin.ask("GET", `${NODES}/${name}`)).json;
}

/** As flanneld asks for a watch. */
const METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

const version = (node: Json) => BigInt(node.metadata.resourceVersion);
const annotations = (node: Json) => node.metadata.annotations ?? {};
const condition = (node: Json, type: string) => node.status.conditions.find((each: Json) => each.type === type);

export type Clause = (world: World) => Promise<void>;

export const CLAUSES: Readonly<Record<string, Clause>> = {
  "a Node that is created has a uid, a time and a version, and is read as it is": async (world) => {
    const node = await create(world, { podCIDR: cidr() });
    expect(node).toMatchObject({ kind: "Node", apiVersion: "v1", metadata: { uid: expect.any(String) } });
    expect(node.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(node.metadata.resourceVersion).toMatch(/^\d+$/);
  },

  "a patch of the status may change annotations, leaves others alone, and raises the version": async (world) => {
    const { metadata, ...node } = await create(world, { podCIDR: cidr() });
    const patch = { metadata: { annotations: { [`${PREFIX}public-ip`]: "192.0.2.1" } } };
    const { status, json } = await world.admin.patch(metadata.name, patch);
    expect(status).toBe(200);
    expect(annotations(json)).toMatchObject({ "example.com/other": "stays", [`${PREFIX}public-ip`]: "192.0.2.1" });
    expect(json.spec.podCIDR).toEqual(node.spec.podCIDR);
    expect(version(json)).toBeGreaterThan(version({ metadata }));
    const gone = await world.admin.patch(metadata.name, {
      metadata: { annotations: { [`${PREFIX}public-ip`]: null } },
    });
    expect(annotations(gone.json)).toEqual(annotations({ metadata }));
    expect(version(gone.json)).toBeGreaterThan(version(json));
  },

  "a patch of the status merges conditions by type": async (world) => {
    const { metadata } = await create(world);
    const patch = (status: string) => ({
      status: { conditions: [{ type: "NetworkUnavailable", status, reason: "Test" }] },
    });
    await world.admin.patch(metadata.name, patch("True"));
    const { json } = await world.admin.patch(metadata.name, patch("False"));
    expect(condition(json, "NetworkUnavailable")).toMatchObject({ status: "False" });
    expect(condition(json, "Ready")).toMatchObject({ status: "True", reason: "Test" });
    expect(json.status.conditions.filter(({ type }: Json) => type === "NetworkUnavailable")).toHaveLength(1);
  },

  "a patch of the status does not change the spec": async (world) => {
    const { metadata, spec } = await create(world);
    const { json } = await world.admin.patch(metadata.name, { spec: { podCIDR: cidr(), unschedulable: true } });
    expect([json.spec.podCIDR, json.spec.unschedulable]).toEqual([spec.podCIDR, spec.unschedulable]);
  },

  "a patch that changes nothing leaves the version": async (world) => {
    const { metadata } = await create(world);
    const patch = { metadata: { annotations: { "example.com/other": "stays" } } };
    const { json } = await world.admin.patch(metadata.name, patch);
    expect(json.metadata.resourceVersion).toBe(metadata.resourceVersion);
  },

  "pod CIDRs are given once": async (world) => {
    const { metadata } = await create(world);
    const give = (podCIDR: string) =>
      world.admin.ask("PATCH", `${NODES}/${metadata.name}`, { spec: { podCIDR, podCIDRs: [podCIDR] } }, STRATEGIC);
    const first = await give("198.18.7.0/24");
    expect([first.status, first.json.spec.podCIDRs]).toEqual([200, ["198.18.7.0/24"]]);
    expect((await give("198.18.8.0/24")).status).toBe(422);
  },

  "a list from the cache has all Nodes, without kind, and a version to watch from": async (world) => {
    const { metadata } = await create(world);
    const { json } = await world.admin.ask("GET", `${NODES}?resourceVersion=${metadata.resourceVersion}`);
    expect(json.kind).toBe("NodeList");
    const found = json.items.find((item: Json) => item.metadata.name === metadata.name);
    expect(found).toMatchObject({ metadata: { uid: metadata.uid } });
    expect(found.kind).toBeUndefined();
    expect(version(json)).toBeGreaterThanOrEqual(version({ metadata }));
  },

  "a watch tells what comes after its version, in order, each with its own": async (world) => {
    const { metadata } = await create(world);
    const { name } = metadata;
    const list = await world.admin.ask("GET", `${NODES}?resourceVersion=${metadata.resourceVersion}`);
    const first = world.admin.patch(name, { metadata: { annotations: { [`${PREFIX}public-ip`]: "192.0.2.1" } } });
    const patched = (await first).json;
    await world.admin.ask("DELETE", `${NODES}/${name}`);
    const ours = (events: readonly Json[]) => events.filter(({ object }) => object.metadata?.name === name);
    const query = { resourceVersion: list.json.metadata.resourceVersion };
    const events = ours(await world.admin.watch(query, (all) => ours(all).some(({ type }) => type === "DELETED")));
    expect(events.map(({ type }) => type)).toEqual(["MODIFIED", "DELETED"]);
    expect(annotations(events[0].object)[`${PREFIX}public-ip`]).toBe("192.0.2.1");
    const versions = [list.json, ...events.map(({ object }) => object)].map(version);
    for (const [i, each] of versions.entries()) if (i > 0) expect(each).toBeGreaterThan(versions[i - 1] ?? 0n);
    expect(versions[1]).toBe(version(patched));
  },

  "a watch goes on live": async (world) => {
    const { metadata } = await create(world);
    const watching = world.admin.watch({ resourceVersion: metadata.resourceVersion }, (events) =>
      events.some(({ object }) => annotations(object)[`${PREFIX}public-ip`] === "192.0.2.9"),
    );
    await Bun.sleep(200);
    await world.admin.patch(metadata.name, { metadata: { annotations: { [`${PREFIX}public-ip`]: "192.0.2.9" } } });
    expect((await watching).at(-1)).toMatchObject({ type: "MODIFIED" });
  },

  "a watch from 0 tells of all there are and then, in a bookmark, that they were all": async (world) => {
    const { metadata } = await create(world);
    const query = { resourceVersion: "0", allowWatchBookmarks: "true", timeoutSeconds: "3" };
    const events = await world.admin.watch(query, (all) => all.some(({ type }) => type === "BOOKMARK"));
    const last = events.at(-1);
    expect(last?.type).toBe("BOOKMARK");
    expect(annotations(last?.object)["k8s.io/initial-events-end"]).toBe("true");
    expect(version(last?.object)).toBeGreaterThanOrEqual(version({ metadata }));
    expect(events.some(({ type, object }) => type === "ADDED" && object.metadata.name === metadata.name)).toBe(true);
  },

  "a watch ends after its time, without a word": async (world) => {
    const { metadata } = await create(world);
    const begun = performance.now();
    const query = { resourceVersion: metadata.resourceVersion, timeoutSeconds: "1" };
    const events = await world.admin.watch(query, () => false);
    expect(performance.now() - begun).toBeGreaterThan(900);
    expect(events.every(({ type }) => type !== "ERROR")).toBe(true);
  },

  "a watch from too long ago is told so in the stream": async (world) => {
    await create(world);
    const events = await world.admin.watch({ resourceVersion: "1" }, (all) => all.length > 0);
    expect(events[0]).toMatchObject({ type: "ERROR", object: { kind: "Status", reason: "Expired", code: 410 } });
  },

  "a watch of metadata alone tells them as they are, a deletion too, and nothing else of the Node": async (world) => {
    const { metadata } = await create(world, { podCIDR: cidr() });
    const { name } = metadata;
    await world.admin.patch(name, { metadata: { annotations: { [`${PREFIX}public-ip`]: "192.0.2.1" } } });
    const changed = (await world.admin.ask("GET", `${NODES}/${name}`)).json;
    await world.admin.patch(name, { status: { conditions: [{ type: "Ready", status: "False", reason: "Test" }] } });
    const beaten = (await world.admin.ask("GET", `${NODES}/${name}`)).json;
    await world.admin.ask("DELETE", `${NODES}/${name}`);
    const ours = (events: readonly Json[]) => events.filter(({ object }) => object.metadata?.name === name);
    const query = { resourceVersion: metadata.resourceVersion };
    const over = (all: readonly Json[]) => ours(all).some(({ type }) => type === "DELETED");
    const events = ours(await world.admin.watch(query, over, METADATA_ONLY));
    expect(events.map(({ type }) => type)).toEqual(["MODIFIED", "MODIFIED", "DELETED"]);
    const objects = events.map(({ object }) => object);
    for (const object of objects) {
      expect(Object.keys(object).sort()).toEqual(["apiVersion", "kind", "metadata"]);
      expect(object).toMatchObject({ kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1" });
    }
    expect(objects[0].metadata).toEqual(changed.metadata);
    expect(objects[1].metadata).toEqual(beaten.metadata);
    expect(objects[2].metadata).toMatchObject({ uid: metadata.uid, annotations: changed.metadata.annotations });
    expect(version(objects[2])).toBeGreaterThan(version(beaten));
  },

  "a bookmark of such a watch has a version and no name": async (world) => {
    const { metadata } = await create(world);
    const query = { resourceVersion: "0", allowWatchBookmarks: "true", timeoutSeconds: "3" };
    const told = (all: readonly Json[]) => all.some(({ type }) => type === "BOOKMARK");
    const last = (await world.admin.watch(query, told, METADATA_ONLY)).at(-1);
    expect(last).toMatchObject({ type: "BOOKMARK", object: { kind: "PartialObjectMetadata" } });
    expect(last?.object.metadata.name).toBeUndefined();
    expect(version(last?.object)).toBeGreaterThanOrEqual(version({ metadata }));
  },

  "such a watch from too long ago is told so by a Status": async (world) => {
    await create(world);
    const events = await world.admin.watch({ resourceVersion: "1" }, (all) => all.length > 0, METADATA_ONLY);
    expect(events[0]).toMatchObject({ type: "ERROR", object: { kind: "Status", reason: "Expired", code: 410 } });
  },

  "the first form of Accept that the server has is taken, the best first; without any it is refused": async (world) => {
    const { metadata } = await create(world);
    const get = (accept: string, path = `/${metadata.name}`) =>
      world.admin.ask("GET", `${NODES}${path}`, undefined, undefined, accept);
    const kind = async (accept: string) => (await get(accept)).json.kind;
    const partial = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    const unknown = "application/json;as=Nonsense;g=meta.k8s.io;v=v1";
    expect(await kind(METADATA_ONLY)).toBe("PartialObjectMetadata");
    expect(await kind(`application/json,${partial}`)).toBe("Node");
    expect(await kind(`application/json;q=0.5,${partial}`)).toBe("PartialObjectMetadata");
    expect(await kind(`${unknown},application/json`)).toBe("Node");
    const refused = await get(unknown);
    expect([refused.status, refused.json.kind, refused.json.reason]).toEqual([406, "Status", "NotAcceptable"]);
    expect(refused.json.message).toMatch(/^only the following media types are accepted: application\/json, /);
    const list = await get(partial, "");
    expect([list.status, list.json.message]).toEqual([
      406,
      expect.stringMatching(/^you requested PartialObjectMetadata, but the requested object is a list/),
    ]);
  },

  "a list from the future is refused, with the time to wait": async (world) => {
    const said = await world.admin.ask("GET", `${NODES}?resourceVersion=900719925474099`);
    expect([said.status, said.header("retry-after")]).toEqual([504, "1"]);
    expect(said.json.message).toMatch(/^Timeout: Too large resource version: 900719925474099, current: \d+$/);
    expect(said.json.details.causes[0].reason).toBe("ResourceVersionTooLarge");
  },

  "what is not there, is there twice, or is said in the wrong form": async (world) => {
    const { metadata } = await create(world);
    const { admin } = world;
    const missing = await admin.patch(world.newName(), {});
    expect([missing.status, missing.json.reason]).toEqual([404, "NotFound"]);
    const twice = await admin.ask("POST", NODES, { metadata: { name: metadata.name } });
    expect([twice.status, twice.json.reason]).toEqual([409, "AlreadyExists"]);
    const path = `${NODES}/${metadata.name}/status`;
    expect((await admin.ask("PATCH", path, {}, "application/json")).status).toBe(415);
    const stale = { metadata: { resourceVersion: "1", annotations: { a: "b" } } };
    expect((await admin.ask("PATCH", path, stale, STRATEGIC)).status).toBe(409);
  },

  "a Node that is deleted and made anew is another": async (world) => {
    const { metadata } = await create(world);
    const path = `${NODES}/${metadata.name}`;
    expect((await world.admin.ask("DELETE", path)).status).toBe(200);
    expect((await world.admin.ask("GET", path)).status).toBe(404);
    await world.admin.ask("POST", NODES, { metadata: { name: metadata.name } });
    expect((await world.admin.ask("GET", path)).json.metadata.uid).not.toBe(metadata.uid);
  },
};
