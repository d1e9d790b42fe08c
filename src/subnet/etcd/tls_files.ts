// The PEM files of --etcd-cafile, --etcd-certfile and --etcd-keyfile, as texts for node:tls, node:http2 and fetch. They are
// looked at for each new connection, so that a certificate renewed by whatever renews it is used without a restart; nothing is
// polled. What is half written (a key that does not fit the certificate yet) leaves the pair before it in use.
//
// Whoever uses them sets rejectUnauthorized to true: otherwise NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment would turn
// verification off.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { getCACertificates } from "node:tls";
import { StoreError, type StoreReason } from "../store_error.ts";
import type { EtcdTls } from "./options.ts";

export interface TlsTexts {
  /** The authorities that may have signed the server's certificate: of --etcd-cafile, else the system's. */
  readonly ca: string | string[];
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** `cert` taken apart, for messages. */
  readonly certificate: X509Certificate | undefined;
}

type Flag = "--etcd-cafile" | "--etcd-certfile" | "--etcd-keyfile";

interface PemFile {
  readonly flag: Flag;
  readonly path: string;
}

export class TlsFiles {
  readonly #files: EtcdTls;
  #read: { readonly stamp: string; readonly texts: TlsTexts } | undefined;

  constructor(files: EtcdTls) {
    this.#files = files;
  }

  /** What the files hold now, or held when they last made sense. Throws StoreError when they never did. */
  texts(): TlsTexts {
    const { caFile, certFile, keyFile } = this.#files;
    const stamp = [caFile, certFile, keyFile].map(stampOf).join();
    if (this.#read?.stamp === stamp) return this.#read.texts;
    try {
      const texts = readTexts(this.#files);
      // Only what did not change while it was read is kept for the next time.
      this.#read = { stamp: [caFile, certFile, keyFile].map(stampOf).join() === stamp ? stamp : "", texts };
      return texts;
    } catch (error) {
      if (this.#read) return this.#read.texts;
      throw error;
    }
  }
}

function readTexts({ caFile, certFile, keyFile }: EtcdTls): TlsTexts {
  const ca: PemFile = { flag: "--etcd-cafile", path: caFile };
  const cert: PemFile = { flag: "--etcd-certfile", path: certFile };
  const key: PemFile = { flag: "--etcd-keyfile", path: keyFile };
  for (const [given, missing] of [
    [cert, key],
    [key, cert],
  ] as const) {
    if (given.path === "" || missing.path !== "") continue;
    throw fault("invalid", given, `${missing.flag} is missing; give both, or neither`);
  }
  const caText = caFile === "" ? getCACertificates("system") : readPem(ca);
  if (typeof caText === "string") for (const pem of pemCertificates(caText, ca)) certificateOf(pem, ca);
  if (certFile === "") return { ca: caText, cert: undefined, key: undefined, certificate: undefined };
  const texts = { cert: readPem(cert), key: readPem(key) };
  // The first is the client's own; those after it are the authorities between it and the root.
  const [own = ""] = pemCertificates(texts.cert, cert);
  const certificate = certificateOf(own, cert);
  if (!certificate.checkPrivateKey(privateKeyOf(texts.key, key))) {
    throw fault("invalid", key, `it is not the key of certificate ${certFile}; give the key it was issued for`);
  }
  return { ca: caText, ...texts, certificate };
}

/** Changes whenever the file is written, replaced or removed. */
function stampOf(path: string): string {
  if (path === "") return "";
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found ? `${found.dev}:${found.ino}:${found.mtimeNs}:${found.ctimeNs}:${found.size}` : "missing";
}

function readPem(file: PemFile): string {
  try {
    return readFileSync(file.path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    if (code === "EACCES" || code === "EPERM") {
      throw fault("denied", file, `${code}; flanneld must be allowed to read it`, error);
    }
    throw fault("invalid", file, code === "ENOENT" ? "ENOENT (no such file)" : code, error);
  }
}

function pemCertificates(text: string, file: PemFile): string[] {
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (!found) throw fault("invalid", file, `it holds no "BEGIN CERTIFICATE"; want a PEM file`);
  return found;
}

function certificateOf(pem: string, file: PemFile): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw fault("invalid", file, "a certificate in it is damaged; write the file again", error);
  }
}

function privateKeyOf(pem: string, file: PemFile) {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
    throw fault("invalid", file, `it holds no "BEGIN … PRIVATE KEY"; want a PEM file`);
  }
  if (/ENCRYPTED/.test(pem)) {
    throw fault("invalid", file, "the key in it is encrypted; write it without a passphrase, readable by root alone");
  }
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw fault("invalid", file, "the key in it is damaged; write the file again", error);
  }
}

function fault(reason: StoreReason, { flag, path }: PemFile, cause: string, error?: unknown): StoreError {
  return new StoreError(reason, path, `cannot use ${path} of ${flag}: ${cause}`, { cause: error });
}
