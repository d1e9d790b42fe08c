// A socket on its way: waiting until it stands, for no longer than is allowed.

import type { Socket } from "node:net";
import { ConnectTimeout } from "./http2_session.ts";

/**
 * Resolves with `socket` once it emits `event` ("connect", "secureConnect"). Rejects with what the system or TLS says, ConnectTimeout after `limitMs`, or
 * the signal's reason; the socket is destroyed then.
 */
export function established(
  socket: Socket,
  event: "connect" | "secureConnect",
  limitMs: number,
  signal: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      settle();
      socket.destroy();
      reject(error);
    };
    const abort = () => fail(signal.reason);
    const closed = () => fail(new Error("the connection was closed"));
    const timer = setTimeout(() => fail(new ConnectTimeout()), limitMs);
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      socket.off("close", closed);
    };
    signal.addEventListener("abort", abort, { once: true });
    // Stays for the socket's life: an error without a listener would end the process.
    socket.on("error", fail);
    socket.on("close", closed);
    socket.once(event, () => {
      settle();
      socket.setNoDelay(true);
      resolve(socket);
    });
    if (signal.aborted) abort();
  });
}
