// Finds out why an endpoint could not be used, for the message alone: which certificate it shows, or whether it speaks plain
// HTTP. Done once a connection has failed, on a connection of its own.

import { connect as connectTcp, isIP } from "node:net";
import { connect as connectTls, type PeerCertificate } from "node:tls";
import type { Target } from "./endpoints.ts";

/** The certificate that a server shows, or undefined when it does not speak TLS. */
export function shownCertificate({ endpoint, address, connectMs }: Target): Promise<PeerCertificate | undefined> {
  return new Promise((resolve) => {
    const socket = connectTls({
      host: address,
      port: endpoint.port,
      ...(isIP(endpoint.host) === 0 ? { servername: endpoint.host } : {}),
      // Here alone, since a certificate that is refused cannot be read otherwise: nothing is sent, no client certificate is
      // shown, nothing that is received is used, and the connection ends as soon as the certificate was read.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    const end = (certificate: PeerCertificate | undefined) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(certificate);
    };
    const timer = setTimeout(end, connectMs, undefined);
    socket.on("error", () => end(undefined));
    socket.on("close", () => end(undefined));
    socket.on("secureConnect", () => {
      const certificate = socket.getPeerCertificate(false);
      end(certificate?.subject ? certificate : undefined);
    });
  });
}

/** The first line of what a server answers to plain HTTP, "HTTP/1.1 200 OK"; undefined when that is not HTTP. */
export function plainAnswer({ endpoint, address, connectMs }: Target): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connectTcp({ host: address, port: endpoint.port });
    const end = (answer: string | undefined) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(end, connectMs, undefined);
    socket.on("error", () => end(undefined));
    socket.on("close", () => end(undefined));
    socket.on("connect", () =>
      socket.write(`GET /version HTTP/1.1\r\nHost: ${endpoint.host}\r\nConnection: close\r\n\r\n`),
    );
    socket.on("data", (data) => end(/^HTTP\/1\.[01] [^\r\n]*/.exec(data.toString("latin1"))?.[0]));
  });
}
