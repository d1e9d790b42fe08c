// The files of certificates, named as cfssljson names them: NAME.pem, NAME-key.pem, NAME.csr. A private key is never readable by others, not for a moment,
// and nothing that exists is replaced unasked.

import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { ConfigError, type Fault } from "../../config/fault.ts";
import { errnoWords, type WrittenFile, writeFilesAtomically } from "../../daemon/atomic_file.ts";
import type { Issued } from "./certificate.ts";

export interface CertificatePaths {
  readonly certificate: string;
  readonly key: string;
  readonly request: string;
}

/** Of "dir/etcd", or of "dir/etcd.pem". */
export function pathsOf(prefix: string): CertificatePaths {
  const stem = prefix.replace(/\.pem$/, "");
  return { certificate: `${stem}.pem`, key: `${stem}-key.pem`, request: `${stem}.csr` };
}

/** The text of the file that `flag` names. Throws ConfigError when it cannot be read. */
export function readText(flag: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError([{ where: flag, got: `${path}: ${errnoWords(error)}`, want: "a file that can be read" }]);
  }
}

/** With `force`, what stands there is replaced; else it is a fault that names all. */
export function writeIssued(
  paths: CertificatePaths,
  { certificate, key, request }: Issued & { readonly request?: string },
  force: boolean,
): void {
  const files: readonly WrittenFile[] = [
    // First, so that whoever sees a new certificate finds its key.
    { path: paths.key, text: key, mode: 0o600 },
    { path: paths.certificate, text: certificate, mode: 0o644 },
    ...(request === undefined ? [] : [{ path: paths.request, text: request, mode: 0o644 }]),
  ];
  if (!force) refuseExisting(files.map(({ path }) => path));
  writeFilesAtomically(files, !force);
}

/** Before a key is made, which may take seconds. */
export function refuseExisting(paths: readonly string[]): void {
  const faults: Fault[] = paths
    .filter((path) => existsSync(path))
    .map((path) => ({ where: "--out", got: `${path}, which exists`, want: "another name, or --force to replace it" }));
  if (faults.length > 0) throw new ConfigError(faults);
}

/**
 * Replaces a certificate, and its key when there is a new one. Owner and permissions stay what they are, also when root renews what etcd's user reads; a
 * symbolic link goes on to point to the file.
 */
export function replaceIssued(paths: CertificatePaths, { certificate, key }: Partial<Issued>): void {
  const texts = [
    [paths.key, key],
    [paths.certificate, certificate],
  ] as const;
  const files = texts.flatMap(([path, text]): readonly WrittenFile[] => {
    if (text === undefined) return [];
    const { mode, uid, gid } = statSync(path);
    return [{ path: realpathSync(path), text, mode: mode & 0o777, owner: { uid, gid } }];
  });
  writeFilesAtomically(files);
}
