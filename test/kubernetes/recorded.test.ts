// What was recorded between Go flannel and a real kube-apiserver (test/fixtures/kubernetes), against the double: it gives the recorded answers to the recorded
// requests. And this project's manager makes the recorded changes.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Address } from "../../src/ip/address.ts";
import { KubeApi } from "../../src/subnet/kubernetes/api.ts";
import { KubernetesManager } from "../../src/subnet/kubernetes/manager.ts";
import { API_TIMING } from "../../src/subnet/kubernetes/transport.ts";
import { Caller, type Json, type Said, STRATEGIC } from "./caller.ts";
import { Loopback } from "./loopback.ts";
import { madeNode } from "./made_nodes.ts";

const FIXTURES = join(import.meta.dir, "../fixtures/kubernetes");
const fixture = (name: string) => readFileSync(join(FIXTURES, name), "utf8").replaceAll("\r", "");
const NODES = "/api/v1/nodes";
const NEVER = new AbortController().signal;
/** When the recorded node said that it was ready. */
const THEN = new Date("2026-11-22T08:49:23Z");

let world: Loopback;
let callers: Record<"admin" | "flannel" | "nobody" | "stranger", Caller>;

beforeAll(async () => {
  world = await Loopback.open({ firstVersion: 2_000, futureMs: 100 });
  callers = {
    admin: new Caller(world.access("admin-token")),
    flannel: new Caller(world.access("flannel-token")),
    nobody: new Caller(world.access(undefined)),
    stranger: new Caller(world.access("another-token")),
  };
  for (let n = 0; n < 6; n++) world.server.store.create(madeNode(n) as Record<string, unknown>);
  const { uid: _, resourceVersion: __, ...metadata } = JSON.parse(fixture("node-before.json")).metadata;
  world.server.store.create({ ...JSON.parse(fixture("node-before.json")), metadata });
  world.server.store.compact();
});

afterAll(async () => {
  for (const caller of Object.values(callers)) caller[Symbol.dispose]();
  await world[Symbol.asyncDispose]();
});

/** Title → what was answered. */
function recordedAnswers(): ReadonlyMap<string, string> {
  const parts = fixture("answers.txt").split(/^## /m).slice(1);
  return new Map(
    parts.map((part) => {
      const [title = "", ...lines] = part.split("\n");
      return [title, lines.join("\n")];
    }),
  );
}

const answers = recordedAnswers();
const digitsApart = (text: string) => text.replaceAll(/\d+/g, "N");

function recordedHead(text: string): {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
} {
  const header = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(text)?.[1]?.trim();
  return { status: Number(/^HTTP\/2 (\d+)/.exec(text)?.[1]), header };
}

const bodyOf = (text: string) => JSON.parse(text.slice(text.indexOf("\n\n")));

/** Refusals: the whole Status, versions apart. */
const refusals: Record<string, () => Promise<Said>> = {
  "list RV too large": () => callers.admin.ask("GET", `${NODES}?resourceVersion=99999999`),
  "forbidden write (PATCH /nodes without /status, PUT status, delete)": () =>
    callers.flannel.ask("PATCH", `${NODES}/node1`, {}, STRATEGIC),
  "wrong content type": () => callers.flannel.ask("PATCH", `${NODES}/node1/status`, {}, "application/json"),
  "404": () => callers.flannel.ask("GET", `${NODES}/nope`),
  "no credentials": () => callers.nobody.ask("GET", `${NODES}/node1`),
  "bad token": () => callers.stranger.ask("GET", `${NODES}/node1`),
};
test.each(Object.entries(refusals))("the recorded refusal: %s", async (title, ask) => {
  const text = answers.get(title) ?? "";
  const [{ status, header }, said] = [recordedHead(text), await ask()];
  expect(said.status).toBe(status);
  for (const name of ["content-type", "cache-control", "retry-after"])
    expect(said.header(name)).toBe(header(name) as string);
  expect(digitsApart(JSON.stringify(said.json))).toBe(digitsApart(JSON.stringify(bodyOf(text))));
});

/** What a recorded line of a watch is about; lines were cut when they were recorded. */
const kindOf = (line: string) => `${/"type":"(\w+)"/.exec(line)?.[1]} ${/"kind":"(\w+)"/.exec(line)?.[1]}`;

const watches: Record<string, [Record<string, string>, "whole" | "kinds"]> = {
  "watch too old RV": [{ resourceVersion: "1" }, "whole"],
  "watch from 0, 2s timeout, bookmarks": [
    { resourceVersion: "0", allowWatchBookmarks: "true", timeoutSeconds: "1" },
    "kinds",
  ],
  sendInitialEvents: [
    {
      sendInitialEvents: "true",
      resourceVersionMatch: "NotOlderThan",
      allowWatchBookmarks: "true",
      timeoutSeconds: "1",
    },
    "whole",
  ],
};
test.each(Object.entries(watches))("the recorded watch: %s", async (title, [query, how]) => {
  const lines = bodyLines(answers.get(title) ?? "");
  const events = await callers.admin.watch(query, () => false);
  const ours = events.map((event) => JSON.stringify(event));
  expect([...new Set(ours.map(kindOf))]).toEqual(expect.arrayContaining([...new Set(lines.map(kindOf))]));
  expect(kindOf(ours.at(-1) ?? "")).toBe(kindOf(lines.at(-1) ?? ""));
  if (how === "whole") expect(digitsApart(ours.at(-1) ?? "")).toBe(digitsApart(lines.at(-1) ?? ""));
});

function bodyLines(text: string): string[] {
  return text
    .slice(text.indexOf("\n\n"))
    .split("\n")
    .filter((line) => line.startsWith("{"));
}

test("the recorded pages: a limit holds for a list from etcd, and not for one from the cache", async () => {
  const [page = "", whole = ""] = (answers.get("limit=2") ?? "").split("\n");
  const { json } = await callers.admin.ask("GET", `${NODES}?limit=2`);
  expect(Object.keys(json.metadata).sort()).toEqual(Object.keys(JSON.parse(page)).sort());
  expect(json.items).toHaveLength(2);
  const cached = await callers.admin.ask("GET", `${NODES}?limit=2&resourceVersion=0`);
  expect([Object.keys(cached.json.metadata), cached.json.items.length > 2]).toEqual([
    Object.keys(JSON.parse(whole)[0]),
    JSON.parse(whole)[1] > 2,
  ]);
});

test("the recorded rest: merge patches of a status, HTTP/1.1 as well as HTTP/2, and a quiet watch without a bookmark", async () => {
  const patch = () => callers.flannel.ask("PATCH", `${NODES}/node1/status`, {}, "application/merge-patch+json");
  expect([await patch(), await patch()].map(({ status }) => `${status}`)).toEqual(
    (answers.get("merge-patch on status") ?? "").trim().split("\n"),
  );
  const { server, tls } = world.access(undefined);
  const old = await fetch(`${server}${NODES}/made-1`, {
    tls: { ca: tls.ca?.() ?? "" },
    headers: { authorization: "Bearer flannel-token" },
  });
  expect([`1.1 ${old.status}`, `2 ${(await callers.flannel.ask("GET", `${NODES}/made-1`)).status}`]).toEqual(
    (answers.get("http versions") ?? "").trim().split("\n"),
  );
  const quiet = { resourceVersion: `${world.server.store.version}`, allowWatchBookmarks: "true", timeoutSeconds: "1" };
  expect(await callers.admin.watch(quiet, () => false)).toEqual([]);
  expect(answers.get("watch from current, timeoutSeconds=61 (bookmark shortly before it ends)")?.trim()).toBe("");
});

test("no recording is left out", () => {
  const elsewhere = [
    "limit=2",
    "merge-patch on status",
    "http versions",
    "watch from current, timeoutSeconds=61 (bookmark shortly before it ends)",
  ];
  expect([...Object.keys(refusals), ...Object.keys(watches), ...elsewhere].sort()).toEqual([...answers.keys()].sort());
});

interface Audit {
  readonly stage: string;
  readonly requestURI: string;
  readonly verb: string;
  readonly responseStatus?: { readonly code: number };
  readonly requestObject?: object;
}

const audits = fixture("audit-first-start.jsonl")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Audit)
  .filter(({ stage }) => stage === "ResponseComplete" || stage === "ResponseStarted");

/** The Node without what differs from one registration to the next. */
function comparable(node: Json): Json {
  const { uid: _, resourceVersion: __, creationTimestamp: ___, managedFields: ____, ...metadata } = node.metadata;
  const conditions = node.status.conditions.toSorted((a: Json, b: Json) => (a.type < b.type ? -1 : 1));
  return { ...node, metadata, status: { ...node.status, conditions } };
}

async function freshNode(): Promise<void> {
  await callers.admin.ask("DELETE", `${NODES}/node1`);
  const { metadata, ...node } = JSON.parse(fixture("node-before.json"));
  const { uid: _, resourceVersion: __, creationTimestamp: ___, ...named } = metadata;
  world.server.store.create({ ...node, metadata: named });
}

describe("a first start", () => {
  test("Go flannel's requests, replayed, are answered as they were and leave the Node as it was", async () => {
    await freshNode();
    expect(audits.length).toBeGreaterThanOrEqual(6);
    for (const { verb, requestURI, responseStatus, requestObject } of audits) {
      const url = requestURI.replace(/resourceVersion=\d{2,}/, `resourceVersion=${world.server.store.version}`);
      if (verb === "watch") {
        const query = Object.fromEntries(new URLSearchParams(url.split("?")[1]));
        expect(await callers.flannel.watch({ ...query, timeoutSeconds: "1" }, () => false)).toEqual([]);
        continue;
      }
      const said = await callers.flannel.ask(verb === "patch" ? "PATCH" : "GET", url, requestObject, STRATEGIC);
      expect([requestURI, said.status]).toEqual([requestURI, responseStatus?.code ?? 0]);
    }
    const { json } = await callers.admin.ask("GET", `${NODES}/node1`);
    expect(comparable(json)).toEqual(comparable(JSON.parse(fixture("node-after.json"))));
  });

  test("ours makes the same patches in the same form, with fewer requests, and leaves the same Node", async () => {
    await freshNode();
    const directory = mkdtempSync(join(tmpdir(), "flannel-recorded-"));
    const configPath = join(directory, "net-conf.json");
    writeFileSync(configPath, '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}');
    const before = world.server.asked.length;
    const api = new KubeApi(world.access("flannel-token"), API_TIMING, "0.0.0");
    using manager = new KubernetesManager(api, {
      nodeName: "node1",
      annotationPrefix: "flannel.alpha.coreos.com",
      configPath,
      setCondition: true,
      now: () => THEN,
      onEvent: (event) => {
        throw new Error(JSON.stringify(event));
      },
    });
    const config = await manager.networkConfig();
    expect(await manager.wishedPublicIp(NEVER)).toEqual({});
    const publicIp = { ipv4: "10.77.0.11" as Address };
    const backendData = { ipv4: { VNI: 1, VtepMAC: "22:eb:dc:15:89:1e" } };
    const attributes = { publicIp, backendType: "vxlan", backendData };
    const own = await manager.acquire(config, { attributes, previous: {} }, NEVER);
    await manager.ready(own, NEVER);
    const context = {
      networks: { ipv4: config.ranges.ipv4?.network as never },
      own,
      hostAddresses: new Set<Address>(),
    };
    const end = new AbortController();
    for await (const set of manager.leaseSets(context, end.signal)) {
      expect(set.leases.size + set.refused.size).toBe(6);
      break;
    }
    const asked = world.server.asked.slice(before);
    expect(asked.map(({ verb }) => verb)).toEqual(["get", "patch", "patch", "list", "watch"].slice(0, asked.length));
    const patches = asked.filter(({ verb }) => verb === "patch");
    const recorded = audits.filter(({ verb }) => verb === "patch");
    expect(patches.map(({ path, contentType, body }) => [path, contentType, JSON.parse(body)])).toEqual(
      recorded.map(({ requestURI, requestObject }) => [requestURI, STRATEGIC, requestObject]),
    );
    const { json } = await callers.admin.ask("GET", `${NODES}/node1`);
    expect(comparable(json)).toEqual(comparable(JSON.parse(fixture("node-after.json"))));
    rmSync(directory, { recursive: true, force: true });
  });
});
