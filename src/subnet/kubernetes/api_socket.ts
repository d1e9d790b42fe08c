// One connection to the API server: TCP, a proxy's tunnel (RFC 9110, CONNECT) where one is named, TLS, each with its cause when it fails.

import { promises as dns } from "node:dns";
import { isIP, type Socket, connect as tcpConnect } from "node:net";
import { type ConnectionOptions, checkServerIdentity, getCACertificates, connect as tlsConnect } from "node:tls";
import { established } from "../established.ts";
import { ConnectTimeout } from "../http2_session.ts";
import { StoreError, type StoreReason } from "../store_error.ts";
import type { ClusterAccess, Credentials } from "./access.ts";
import type { ApiTiming } from "./transport.ts";

interface Place {
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
}

/** Bytes of a proxy's answer to CONNECT. */
const MAX_TUNNEL_ANSWER = 8 * 1024;

/**
 * A TLS connection that speaks HTTP/2, to the first address that answers. `first` (a count that moves on with each failure) says at which of several addresses
 * to begin. Throws StoreError.
 */
export async function openApiSocket(
  access: ClusterAccess,
  credentials: Credentials,
  { connectMs, handshakeMs }: ApiTiming,
  first: number,
  signal: AbortSignal,
): Promise<Socket> {
  const server = placeOf(access.server);
  const next = access.proxy === undefined ? server : placeOf(access.proxy);
  try {
    const carrier = await openTcp(next, connectMs, first, signal);
    if (access.proxy === undefined) return await secured(access, credentials, server, carrier, handshakeMs, signal);
    const proxied = next.secure
      ? await overTls({ socket: carrier, servername: next.host }, handshakeMs, signal)
      : carrier;
    await tunnel(proxied, access.proxy, server, handshakeMs, signal);
    return await secured(access, credentials, server, proxied, handshakeMs, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof StoreError) throw error;
    const [reason, cause] = causeOf(error, access, server);
    const way = access.proxy === undefined ? "" : ` through proxy ${withoutPassword(access.proxy)}`;
    throw new StoreError(reason, access.server, `cannot reach the API server at ${access.server}${way}: ${cause}`, {
      cause: error,
    });
  }
}

function placeOf(url: string): Place {
  const { protocol, hostname, port } = new URL(url);
  if (protocol !== "http:" && protocol !== "https:") {
    throw new StoreError("invalid", url, `cannot use ${withoutPassword(url)}: flanneld knows http and https proxies`);
  }
  const secure = protocol === "https:";
  return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || (secure ? 443 : 80)), secure };
}

async function openTcp({ host, port }: Place, connectMs: number, first: number, signal: AbortSignal): Promise<Socket> {
  const found = isIP(host) === 0 ? await dns.lookup(host, { all: true }) : [{ address: host }];
  const addresses = found.map((_, i) => found[(i + first) % found.length]?.address ?? host);
  let failure: unknown;
  for (const address of addresses) {
    try {
      return await established(tcpConnect({ host: address, port }), "connect", connectMs / addresses.length, signal);
    } catch (error) {
      signal.throwIfAborted();
      failure = error;
    }
  }
  throw failure;
}

function secured(
  { tls }: ClusterAccess,
  { certificate, key }: Credentials,
  { host }: Place,
  socket: Socket,
  limitMs: number,
  signal: AbortSignal,
): Promise<Socket> {
  const name = tls.serverName ?? host;
  const options: ConnectionOptions = {
    socket,
    ca: tls.ca?.() ?? getCACertificates("system"),
    cert: certificate,
    key,
    ...(isIP(name) === 0 ? { servername: name } : {}),
    ALPNProtocols: ["h2"],
    // Said outright: otherwise the environment could turn it off.
    rejectUnauthorized: !tls.insecure,
    checkServerIdentity: (_name, shown) => (tls.insecure ? undefined : checkServerIdentity(name, shown)),
  };
  return overTls(options, limitMs, signal);
}

function overTls(options: ConnectionOptions, limitMs: number, signal: AbortSignal): Promise<Socket> {
  return established(tlsConnect(options), "secureConnect", limitMs, signal);
}

/** Asks a proxy for a connection to `place`; resolves when it stands. */
function tunnel(
  socket: Socket,
  proxy: string,
  { host, port }: Place,
  limitMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { username, password } = new URL(proxy);
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const user = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
  const authorization = username === "" ? "" : `Proxy-Authorization: Basic ${user}\r\n`;
  return new Promise((resolve, reject) => {
    let answer = "";
    const settle = (error?: unknown) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      socket.off("data", hear);
      socket.off("close", closed);
      if (error === undefined) return resolve();
      socket.destroy();
      reject(error);
    };
    const abort = () => settle(signal.reason);
    const closed = () => settle(new Error("the proxy closed the connection"));
    const hear = (bytes: Uint8Array) => {
      answer += new TextDecoder("latin1").decode(bytes);
      if (answer.length > MAX_TUNNEL_ANSWER) return settle(new Error("the proxy's answer has no end"));
      if (!answer.includes("\r\n\r\n")) return;
      const [line = ""] = answer.split("\r\n");
      settle(/^HTTP\/1\.\d 2\d\d/.test(line) ? undefined : new Error(`the proxy answered "${line.slice(0, 80)}"`));
    };
    const timer = setTimeout(() => settle(new ConnectTimeout("no answer from the proxy")), limitMs);
    signal.addEventListener("abort", abort, { once: true });
    socket.on("data", hear);
    socket.on("close", closed);
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${authorization}\r\n`);
  });
}

const SYSTEM: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused; check that it runs there, and the port",
  EHOSTUNREACH: "no route to host; check the network",
  ENETUNREACH: "network unreachable; check this host's routes",
  EACCES: "the kernel forbids it; check this host's firewall and routes",
  EPERM: "the kernel forbids it; check this host's firewall",
  ENOTFOUND: "the host's name does not resolve; check the name and the name server",
  EAI_AGAIN: "the name server does not answer",
  ETIMEDOUT: "no answer in time; check that the host is up and no firewall drops packets",
};

function causeOf(error: unknown, { source, tls }: ClusterAccess, { host }: Place): readonly [StoreReason, string] {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const said = error instanceof Error ? error.message : String(error);
  const system = SYSTEM[code];
  if (system) return ["unreachable", `${code}, ${system}`];
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return ["invalid", `its certificate is not for ${tls.serverName ?? host} (${said}); check the server in ${source}`];
  }
  if (/^(?:UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|CERT_)/.test(code)) {
    return [
      "invalid",
      `this side refuses its certificate: ${code} (${said}); check the certificate authority in ${source}`,
    ];
  }
  if (/_ALERT_/.test(code)) {
    const alert = code.replace(/^.*_ALERT_/, "").toLowerCase();
    return [
      "denied",
      `it refuses this client (${alert.replaceAll("_", " ")}); check the client certificate in ${source}`,
    ];
  }
  return ["unreachable", [...new Set([code, said])].filter((part) => part !== "").join(", ")];
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, "//");
}
