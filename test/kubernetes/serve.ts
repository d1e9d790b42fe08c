// The API server's double as a program: `bun serve.ts OPTIONS` with the options of ApiServerOptions as JSON, certificate and key by path. It prints
// {"port":N} when it listens, takes words on the file that `control` names (a FIFO), one command a line, and ends with SIGTERM as the real one does:
// watches are ended first.
//
//   compact                         forget the history of changes
//   forbid VERB … | allow           requests of these verbs are refused to the user flannel
//   tokens TOKEN=USER …             these hold from now on, and no others
//   end-watches

import { readFileSync, writeFileSync } from "node:fs";
import { ApiServer, type ApiServerOptions } from "./api_server.ts";

export interface ServeOptions extends Omit<ApiServerOptions, "certificate" | "key" | "clientCa"> {
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCaFile?: string;
  /** Commands are read from this file as it grows. */
  readonly control: string;
  /** Requests are written to this file, a line of JSON each. */
  readonly journal: string;
}

const POLL_MS = 20;

if (import.meta.main) {
  const options = JSON.parse(process.argv[2] ?? "{}") as ServeOptions;
  const server = await ApiServer.start({
    ...options,
    certificate: readFileSync(options.certFile, "utf8"),
    key: readFileSync(options.keyFile, "utf8"),
    ...(options.clientCaFile !== undefined && { clientCa: readFileSync(options.clientCaFile, "utf8") }),
  });
  process.stdout.write(`${JSON.stringify({ port: server.port })}\n`);
  process.on("SIGTERM", () => {
    server.endWatches();
    setTimeout(() => process.exit(0), 50);
  });
  let done = 0;
  setInterval(() => {
    const lines = readFileSync(options.control, "utf8").split("\n").slice(0, -1);
    for (const line of lines.slice(done)) obey(server, line.split(" "));
    done = lines.length;
    const asked = server.asked.splice(0);
    if (asked.length > 0)
      writeFileSync(options.journal, asked.map((each) => `${JSON.stringify(each)}\n`).join(""), { flag: "a" });
  }, POLL_MS);
}

function obey(server: ApiServer, [word = "", ...rest]: readonly string[]): void {
  switch (word) {
    case "compact":
      server.store.compact();
      return;
    case "forbid":
      server.forbiddenVerbs = new Set(rest);
      return;
    case "allow":
      server.forbiddenVerbs = new Set();
      return;
    case "tokens":
      server.tokens = new Map(rest.map((pair) => pair.split("=") as [string, string]));
      return;
    case "end-watches":
      server.endWatches();
      return;
    default:
      throw new Error(`There is no command ${word}`);
  }
}
