// `certs ca` and `certs issue`: from what is asked to files.

import { X509Certificate } from "node:crypto";
import { ConfigError, type Fault, gather } from "../../config/fault.ts";
import type { Outputs } from "../session.ts";
import { line, paint, tableLines } from "../terminal.ts";
import { type AuthorityFlags, loadAuthority, outlives } from "./authority_files.ts";
import { issueCertificate, makeAuthority } from "./certificate.ts";
import { describe, descriptionRows } from "./description.ts";
import { lifetimeFrom } from "./expiry.ts";
import { type CertificatePaths, pathsOf, readText, refuseExisting, writeIssued } from "./files.ts";
import { makeKeyPair } from "./key_pair.ts";
import { authorityWish, type CertificateFlags, certificateWish, type SubjectFlags } from "./order.ts";
import { makeRequest } from "./request.ts";

export interface OutputFlags {
  /** Files' common beginning: dir/etcd. */
  readonly out: string;
  readonly force: boolean;
  readonly keepCsr: boolean;
  readonly json: boolean;
}

export async function makeCa(
  flags: SubjectFlags & OutputFlags,
  session: Outputs,
  now: Date,
  signal: AbortSignal,
): Promise<number> {
  const faults: Fault[] = [];
  const wish = gather(faults, () => authorityWish(flags, readText));
  const paths = freePaths(flags, faults);
  if (!wish || faults.length > 0) throw new ConfigError(faults);
  const key = await makeKeyPair(wish.key);
  signal.throwIfAborted();
  const issued = await makeAuthority({ ...wish, ...lifetimeFrom(now, wish.expiryMs), key });
  const request = flags.keepCsr ? { request: makeRequest(key, wish.subject, wish.hosts) } : {};
  writeIssued(paths, { ...issued, ...request }, flags.force);
  report(session, flags, paths, issued.certificate, wish.warnings);
  return 0;
}

export async function issue(
  flags: AuthorityFlags & CertificateFlags & OutputFlags,
  session: Outputs,
  now: Date,
  signal: AbortSignal,
): Promise<number> {
  const faults: Fault[] = [];
  const wish = gather(faults, () => certificateWish(flags, readText));
  const loaded = gather(faults, () => loadAuthority(flags, now));
  const paths = freePaths(flags, faults);
  if (!wish || !loaded || faults.length > 0) throw new ConfigError(faults);
  const lifetime = lifetimeFrom(now, wish.expiryMs);
  const key = await makeKeyPair(wish.key);
  signal.throwIfAborted();
  const issued = await issueCertificate(loaded, { ...wish, ...lifetime, key });
  const request = flags.keepCsr ? { request: makeRequest(key, wish.subject, wish.hosts) } : {};
  writeIssued(paths, { ...issued, ...request }, flags.force);
  const warnings = [...wish.warnings, ...outlives(lifetime.notAfter, loaded.authority)];
  report(session, flags, paths, issued.certificate, warnings);
  return 0;
}

function freePaths({ out, force, keepCsr }: OutputFlags, faults: Fault[]): CertificatePaths {
  const paths = pathsOf(out);
  const { certificate, key, request } = paths;
  if (!force) gather(faults, () => refuseExisting([key, certificate, ...(keepCsr ? [request] : [])]));
  return paths;
}

function report(
  { out, err }: Outputs,
  { json, keepCsr }: OutputFlags,
  { certificate, key, request }: CertificatePaths,
  pem: string,
  warnings: readonly string[],
): void {
  const description = describe(new X509Certificate(pem));
  const files = { certificate, key, ...(keepCsr && { request }) };
  if (json) {
    line(out, JSON.stringify({ files, ...description, warnings }, undefined, 2));
    return;
  }
  line(out, `wrote ${Object.values(files).join(", ")}`);
  for (const row of tableLines(descriptionRows(description))) line(out, `  ${row}`);
  for (const warning of warnings) line(err, `${paint(err, "yellow", "warning:")} ${warning}`);
}
