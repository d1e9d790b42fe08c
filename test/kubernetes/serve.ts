// The API server's double as a program: `bun serve.ts OPTIONS`, a ServeOptions as JSON. Each of `hosts` is a server of one cluster, all over one store. What a
// test does besides, as an administrator or as fate, goes over the UNIX socket `control`: requests of the API as the user admin, and POST /double/WORD with a
// JSON body. It prints a line when it listens.

import { readFileSync } from "node:fs";
import { ApiFailure } from "./answers.ts";
import { ApiServer, type ApiServerOptions, type Asked, openGate } from "./api_server.ts";
import { type Fates, heartbeats, serveControl, untilDue } from "./control.ts";
import { heartbeat, madeNode } from "./made_nodes.ts";
import { NodeStore } from "./node_store.ts";

export interface ServeOptions extends Omit<ApiServerOptions, "certificate" | "key" | "clientCa" | "store" | "gate"> {
  readonly hosts: readonly string[];
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string;
  readonly control: string;
}

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

  const fate: Fates = {
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
    fill: async (how) => {
      const begun = performance.now();
      for (let i = 0; i < how.count; i++) {
        await untilDue(i, how, begun);
        store.create(madeNode(how.from + i, how.bytes) as Record<string, unknown>);
      }
    },
    heartbeats: heartbeats((n) => store.patch(`made-${n}`, "strategic", heartbeat(), true)),
    asked: () => asked.splice(0),
  };

  serveControl(
    options.control,
    fate,
    async ({ method, path, contentType, body }) => {
      const question = { user: "admin", method, url: path, contentType, body };
      const answer = await administrators.answer({ ...question, accept: undefined, userAgent: undefined });
      return answer.kind === "object" ? Response.json(answer.object, { status: answer.status }) : new Response();
    },
    (error) => {
      const failure = error instanceof ApiFailure ? error : new ApiFailure(500, "InternalError", String(error));
      return Response.json(failure.status, { status: failure.code });
    },
  );
  process.on("SIGTERM", () => process.exit(0));
  process.stdout.write("listening\n");
}
