// A proxy in front of etcd's v2 API that passes streams on as they come and holds polls back until it is told.

import { once } from "node:events";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";

export async function slowProxy(to: string) {
  const polled = Promise.withResolvers<void>();
  const passing = Promise.withResolvers<void>();
  const server = createServer((asked, answered) => {
    const passOn = async () => {
      if (asked.url?.includes("waitIndex")) {
        polled.resolve();
        await passing.promise;
      }
      const passed = request(`${to}${asked.url}`, (from) => {
        answered.writeHead(from.statusCode ?? 0, from.headers);
        answered.flushHeaders();
        from.on("error", () => answered.destroy());
        from.pipe(answered);
      });
      passed.on("error", () => answered.destroy());
      answered.on("close", () => passed.destroy());
      passed.end();
    };
    passOn().catch(() => answered.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    /** Resolves with the first poll. */
    polled: polled.promise,
    passPolls: () => passing.resolve(),
    [Symbol.dispose]() {
      passing.resolve();
      server.close();
      server.closeAllConnections();
    },
  };
}
