// The API server's double as a program: `bun serve.ts OPTIONS`, a ServeOptions as JSON. Each of `hosts` is a server of one cluster, all over one store. What a
// test does besides, as an administrator or as fate, goes over the UNIX socket `control`: requests of the API as the user admin, and POST /double/WORD with a
// JSON body. It prints a line when it listens.

import { readFileSync } from "node:fs";
import { ApiFailure } from "./answers.ts";
import { ApiServer, type ApiServerOptions, type Asked, openGate } from "./api_server.ts";
import { heartbeat, madeNode } from "./made_nodes.ts";
import { NodeStore } from "./node_store.ts";

export interface ServeOptions extends Omit<ApiServerOptions, "certificate" | "key" | "clientCa" | "store" | "gate"> {
  readonly hosts: readonly string[];
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string;
  readonly control: string;
}

/** What a test can do to the cluster. */
export interface Fate {
  /** Server i ends: all at once, or as one that is asked to. */
  readonly stop: { readonly server: number; readonly crash: boolean };
  readonly start: { readonly server: number };
  /** The history of changes is forgotten. */
  readonly compact: object;
  /** As etcd after a backup was read back: what is there stays, versions begin again at `version`, and watches break. */
  readonly restore: { readonly version: number };
  readonly endWatches: object;
  /** Requests of these verbs are refused to flannel. */
  readonly forbid: { readonly verbs: readonly string[] };
  readonly overload: { readonly code: number };
  /** These tokens hold from now on, and no others. */
  readonly tokens: Readonly<Record<string, string>>;
  /** Nodes made-FROM and so on, of so many bytes each, spread over so many milliseconds. */
  readonly fill: { readonly from: number; readonly count: number; readonly bytes: number; readonly overMs: number };
  /** Nodes made-FROM and so on report that they are well, each once in `everyMs`; 0 ends it. */
  readonly heartbeats: { readonly from: number; readonly count: number; readonly everyMs: number };
  /** The requests since the last time this was asked. */
  readonly asked: object;
}

const TICK_MS = 10;

if (import.meta.main) {
  const options = JSON.parse(process.argv[2] ?? "{}") as ServeOptions;
  const store = new NodeStore(options);
  const gate = openGate();
  const asked: Asked[] = [];
  const open = (host: string) =>
    ApiServer.start({
      ...options,
      host,
      store,
      gate,
      asked,
      certificate: readFileSync(options.certFile, "utf8"),
      key: readFileSync(options.keyFile, "utf8"),
      clientCa: readFileSync(options.clientCaFile, "utf8"),
    });
  const servers: (ApiServer | undefined)[] = await Promise.all(options.hosts.map(open));
  // Answers the administrator also while all servers are down.
  const administrators = await ApiServer.start({
    ...options,
    host: "127.0.0.1",
    port: 0,
    store,
    gate,
    certificate: readFileSync(options.certFile, "utf8"),
    key: readFileSync(options.keyFile, "utf8"),
  });
  let beating: ReturnType<typeof setInterval> | undefined;

  const fate: { readonly [Word in keyof Fate]: (how: Fate[Word]) => unknown } = {
    stop: async ({ server, crash }) => {
      if (crash) servers[server]?.crash();
      else await servers[server]?.[Symbol.asyncDispose]();
      servers[server] = undefined;
    },
    start: async ({ server }) => {
      servers[server] = await open(options.hosts[server] ?? "");
    },
    compact: () => store.compact(),
    restore: async ({ version }) => {
      for (const server of servers) server?.crash();
      store.restore(version);
      for (const [i, host] of options.hosts.entries()) servers[i] = await open(host);
    },
    endWatches: () => {
      for (const server of servers) server?.endWatches();
    },
    forbid: ({ verbs }) => {
      gate.forbiddenVerbs = new Set(verbs);
    },
    overload: ({ code }) => {
      gate.overloaded = code;
    },
    tokens: (tokens) => {
      gate.tokens = new Map(Object.entries(tokens));
    },
    fill: async ({ from, count, bytes, overMs }) => {
      const begun = performance.now();
      for (let i = 0; i < count; i++) {
        const aheadMs = (overMs * i) / count - (performance.now() - begun);
        if (aheadMs > 1) await Bun.sleep(aheadMs);
        store.create(madeNode(from + i, bytes) as Record<string, unknown>);
      }
    },
    heartbeats: ({ from, count, everyMs }) => {
      clearInterval(beating);
      if (everyMs === 0) return;
      const begun = performance.now();
      let beaten = 0;
      beating = setInterval(() => {
        const due = ((performance.now() - begun) / everyMs) * count;
        for (; beaten < due; beaten++) store.patch(`made-${from + (beaten % count)}`, "strategic", heartbeat(), true);
      }, TICK_MS);
    },
    asked: () => asked.splice(0),
  };

  Bun.serve({
    unix: options.control,
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      const body = await request.text();
      const word = /^\/double\/(\w+)$/.exec(pathname)?.[1];
      try {
        if (word !== undefined) {
          const act = fate[word as keyof Fate] as ((how: unknown) => unknown) | undefined;
          if (!act) return new Response(`There is no ${word}`, { status: 404 });
          return Response.json((await act(JSON.parse(body))) ?? {});
        }
        const contentType = request.headers.get("content-type") ?? undefined;
        const question = { user: "admin", method: request.method, url: `${pathname}${search}`, contentType, body };
        const answer = await administrators.answer({ ...question, accept: undefined, userAgent: undefined });
        return answer.kind === "object" ? Response.json(answer.object, { status: answer.status }) : new Response();
      } catch (error) {
        const failure = error instanceof ApiFailure ? error : new ApiFailure(500, "InternalError", String(error));
        return Response.json(failure.status, { status: failure.code });
      }
    },
  });
  process.on("SIGTERM", () => process.exit(0));
  process.stdout.write("listening\n");
}
