// The double within a test's own process, on loopback, and ways to reach it.

import { readFileSync } from "node:fs";
import type { ClusterAccess } from "../../src/subnet/kubernetes/access.ts";
import { CertificateDirectory } from "../etcd/certificates.ts";
import { ApiServer, type ApiServerOptions } from "./api_server.ts";

export class Loopback implements AsyncDisposable {
  readonly server: ApiServer;
  readonly certificates: CertificateDirectory;

  private constructor(server: ApiServer, certificates: CertificateDirectory) {
    this.server = server;
    this.certificates = certificates;
  }

  static async open(options: Omit<ApiServerOptions, "certificate" | "key"> = {}): Promise<Loopback> {
    const certificates = new CertificateDirectory();
    await certificates.authority("ca");
    await certificates.authority("clients");
    const { certFile, keyFile } = await certificates.issue("ca", "server", { hosts: ["127.0.0.1", "localhost"] });
    const server = await ApiServer.start({
      ...options,
      certificate: readFileSync(certFile, "utf8"),
      key: readFileSync(keyFile, "utf8"),
      clientCa: readFileSync(certificates.file("clients"), "utf8"),
    });
    return new Loopback(server, certificates);
  }

  /** Undefined for no credentials at all. */
  access(token: string | undefined): ClusterAccess {
    const ca = readFileSync(this.certificates.file("ca"), "utf8");
    return {
      server: `https://127.0.0.1:${this.server.port}`,
      proxy: undefined,
      source: "the test",
      tls: { ca: () => ca, serverName: undefined, insecure: false },
      credentials: { current: async () => (token === undefined ? {} : { token }), refused: () => {} },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    this.certificates[Symbol.dispose]();
  }
}
