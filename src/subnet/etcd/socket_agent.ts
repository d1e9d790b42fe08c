// Keeps connections for the next request, and makes none itself: making one takes an endpoint, a choice of address, and time
// (http.ts). One that a request brings along is used if none is free.

import { Agent, type RequestOptions } from "node:http";
import type { Socket } from "node:net";
import type { Target } from "./endpoints.ts";

/** Kept for the next request; a watch takes one of its own. */
const MAX_FREE_SOCKETS = 2;

export interface SocketHolder {
  /** For the agent: the connection to use if it has none free. */
  readonly flannelSocket?: Socket | undefined;
}

export class SocketAgent extends Agent {
  readonly #taken = new WeakSet<Socket>();

  constructor() {
    super({ keepAlive: true, maxFreeSockets: MAX_FREE_SOCKETS });
  }

  override createConnection(options: RequestOptions & SocketHolder): Socket {
    const { flannelSocket } = options;
    if (!flannelSocket) throw new Error("a request without a connection");
    this.#taken.add(flannelSocket);
    return flannelSocket;
  }

  took(socket: Socket): boolean {
    return this.#taken.has(socket);
  }

  hasFree({ address, endpoint }: Target): boolean {
    const name = this.getName({ host: address, port: endpoint.port });
    return (this.freeSockets[name] ?? []).some((socket) => !socket.destroyed && socket.writable);
  }

  /** Connections to where nothing answers any more may be dead without knowing. */
  drop({ address, endpoint }: Target): void {
    const name = this.getName({ host: address, port: endpoint.port });
    for (const socket of [...(this.freeSockets[name] ?? [])]) socket.destroy();
  }
}
