// One TCP connection to one address of an endpoint, with TLS where the endpoint has it: the server's certificate is verified
// against --etcd-cafile and the name or address that was asked for, whatever the environment says.

import { isIP, type Socket, connect as tcpConnect } from "node:net";
import { checkServerIdentity, connect as tlsConnect } from "node:tls";
import { established } from "../established.ts";
import { connectionError } from "./connection_error.ts";
import type { Target } from "./endpoints.ts";
import type { EtcdTls } from "./options.ts";
import type { TlsTexts } from "./tls_files.ts";

export interface SocketOptions {
  readonly files: EtcdTls;
  /** undefined for an endpoint without TLS. */
  readonly texts: TlsTexts | undefined;
  /** Offered by ALPN: "h2" or "http/1.1". */
  readonly protocol: "h2" | "http/1.1";
  readonly now: () => number;
}

/** Resolves when the connection stands; throws StoreError with the cause. */
export async function openSocket(target: Target, options: SocketOptions, signal: AbortSignal): Promise<Socket> {
  try {
    return await connected(target, options, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw await connectionError(error, { target, ...options }, options.now());
  }
}

function connected(target: Target, { texts, protocol }: SocketOptions, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const { endpoint, address, connectMs } = target;
  const { host, port } = endpoint;
  const socket = texts
    ? tlsConnect({
        host: address,
        port,
        ca: texts.ca,
        cert: texts.cert,
        key: texts.key,
        ...(isIP(host) === 0 ? { servername: host } : {}),
        ALPNProtocols: [protocol],
        rejectUnauthorized: true,
        // Against what the endpoint names, not the address that the name resolved to.
        checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
      })
    : tcpConnect({ host: address, port });
  return established(socket, texts ? "secureConnect" : "connect", connectMs, signal);
}
