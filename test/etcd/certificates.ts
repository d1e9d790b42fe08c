// Certificates for tests of TLS, as files in a directory of their own: an authority, and what it signs.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Issued, issueCertificate, makeAuthority } from "../../src/ctl/certs/certificate.ts";
import type { Usage } from "../../src/ctl/certs/usage.ts";
import type { EtcdTls } from "../../src/subnet/etcd/options.ts";

const HOUR_MS = 3_600_000;

export interface Order {
  readonly hosts?: readonly string[];
  readonly usages?: readonly Usage[];
  /** Hours from now. */
  readonly from?: number;
  readonly to?: number;
}

/** Paths of a certificate and its key. */
export interface Pair {
  readonly certFile: string;
  readonly keyFile: string;
}

export class CertificateDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "flannel-certs-"));
  readonly #authorities = new Map<string, Issued>();

  /** Makes an authority; gives the path of its certificate. */
  async authority(name: string, commonName = name): Promise<string> {
    const made = await makeAuthority({ subject: { commonName }, ...lifetime({}) });
    this.#authorities.set(name, made);
    writeFileSync(this.file(name), made.certificate);
    return this.file(name);
  }

  /** Has `authority` sign a certificate; one that has the name of another takes its place. */
  async issue(authority: string, name: string, order: Order = {}): Promise<Pair> {
    const signer = this.#authorities.get(authority);
    if (!signer) throw new Error(`There is no authority ${authority}`);
    const { hosts = [], usages = ["server auth", "client auth"] } = order;
    const issued = await issueCertificate(signer, {
      subject: { commonName: name },
      hosts,
      usages: ["signing", ...usages],
      ...lifetime(order),
    });
    const pair = { certFile: this.file(name), keyFile: this.file(`${name}-key`) };
    writeFileSync(pair.certFile, issued.certificate);
    writeFileSync(pair.keyFile, issued.key, { mode: 0o600 });
    return pair;
  }

  /** A file that holds several authorities; one that has the name of another takes its place. */
  bundle(name: string, authorities: readonly string[]): string {
    writeFileSync(this.file(name), authorities.map((each) => this.#authorities.get(each)?.certificate ?? "").join(""));
    return this.file(name);
  }

  file(name: string): string {
    return join(this.path, `${name}.pem`);
  }

  /** The files of the flags. */
  tls(ca: string, client?: string): EtcdTls {
    return {
      caFile: ca === "" ? "" : this.file(ca),
      certFile: client ? this.file(client) : "",
      keyFile: client ? this.file(`${client}-key`) : "",
    };
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

function lifetime({ from = -1, to = 1 }: Order) {
  const now = Date.now();
  const at = (hours: number) => new Date(Math.floor((now + hours * HOUR_MS) / 1000) * 1000);
  return { notBefore: at(from), notAfter: at(to) };
}
