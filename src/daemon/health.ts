// /healthz and /readyz with upstream's bodies, for probes. Ready means what subnet.env means: device and addresses stand, and the file is written.

import { ConfigError } from "../config/fault.ts";

/** Throws ConfigError when the port cannot be had. */
export function serveHealth(address: string, port: number, isReady: () => boolean): Disposable {
  try {
    const server = Bun.serve({
      hostname: address,
      port,
      routes: {
        "/healthz": () => new Response("flanneld is running"),
        "/readyz": () =>
          isReady() ? new Response("flanneld is ready") : new Response("flanneld is not ready yet", { status: 503 }),
      },
      fetch: () => new Response("not found; there are /healthz and /readyz\n", { status: 404 }),
    });
    server.unref();
    return { [Symbol.dispose]: () => void server.stop(true) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError([
      { where: "--healthz-port", got: `${address}:${port} (${reason})`, want: "an address and port that are free" },
    ]);
  }
}
