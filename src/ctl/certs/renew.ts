// `certs renew`: certificates that end soon, again: same subject, names and usages, the same key unless a new one is asked for. Made for cron: what has time
// left stays as it is, and one that cannot be renewed does not keep the others from it.

import { X509Certificate } from "node:crypto";
import type { Outputs } from "../session.ts";
import { line, paint } from "../terminal.ts";
import { type AuthorityFlags, type LoadedAuthority, loadAuthority, outlives } from "./authority_files.ts";
import { reissueCertificate } from "./certificate.ts";
import { certificatesIn, formatTime } from "./description.ts";
import { DAY_MS, lifetimeFrom } from "./expiry.ts";
import { pathsOf, readText, replaceIssued } from "./files.ts";
import { readKeyPair } from "./key_pair.ts";
import { hasSigned } from "./verdict.ts";

export interface RenewFlags extends AuthorityFlags {
  /** What ends later is left alone. */
  readonly days: number;
  readonly newKey: boolean;
  readonly json: boolean;
}

type Outcome =
  | { readonly kind: "kept" | "renewed"; readonly notAfter: Date; readonly warnings: readonly string[] }
  | { readonly kind: "failed"; readonly reason: string };

export async function renew(
  files: readonly string[],
  flags: RenewFlags,
  session: Outputs,
  now: Date,
  signal: AbortSignal,
): Promise<number> {
  const authority = loadAuthority(flags, now);
  const results: (Outcome & { readonly file: string })[] = [];
  for (const name of files) {
    signal.throwIfAborted();
    const file = pathsOf(name).certificate;
    results.push({ file, ...(await outcomeOf(file, authority, flags, now)) });
  }
  if (flags.json) line(session.out, JSON.stringify(results, undefined, 2));
  else for (const result of results) print(result, session);
  return results.some(({ kind }) => kind === "failed") ? 1 : 0;
}

async function outcomeOf(file: string, authority: LoadedAuthority, flags: RenewFlags, now: Date): Promise<Outcome> {
  try {
    return await renewOne(file, authority, flags, now);
  } catch (error) {
    return { kind: "failed", reason: error instanceof Error ? error.message : String(error) };
  }
}

async function renewOne(
  file: string,
  authority: LoadedAuthority,
  { days, newKey }: RenewFlags,
  now: Date,
): Promise<Outcome> {
  const paths = pathsOf(file);
  const [old, ...others] = certificatesIn(readText("certificate", file));
  if (!old || others.length > 0)
    throw new Error(`${file} holds ${others.length + (old ? 1 : 0)} certificates, want one`);
  const { validFromDate, validToDate } = old;
  if (validToDate.getTime() - now.getTime() >= days * DAY_MS)
    return { kind: "kept", notAfter: validToDate, warnings: [] };
  if (old.ca) throw new Error("an authority is not renewed by another; flannelctl certs ca makes one");
  if (!hasSigned(authority.authority.certificate, old)) {
    throw new Error("it is not signed by the authority of --ca; flannelctl certs issue makes another");
  }
  const pair = readKeyPair(readText("key", paths.key));
  if (!newKey && !old.checkPrivateKey(pair.privateKey))
    throw new Error(`${paths.key} is another's key; --new-key makes one`);
  const lifetime = lifetimeFrom(now, validToDate.getTime() - validFromDate.getTime());
  const order = { ...lifetime, key: newKey ? pair.spec : pair };
  const issued = await reissueCertificate(authority, old.toString(), order);
  replaceIssued(paths, newKey ? issued : { certificate: issued.certificate });
  const { validToDate: notAfter } = new X509Certificate(issued.certificate);
  return { kind: "renewed", notAfter, warnings: outlives(notAfter, authority.authority) };
}

function print(result: Outcome & { readonly file: string }, { out, err }: Outputs): void {
  switch (result.kind) {
    case "kept":
      line(out, `${result.file}: ends on ${formatTime(result.notAfter)}, nothing to do`);
      return;
    case "renewed":
      line(out, `${result.file}: renewed, ends on ${formatTime(result.notAfter)}`);
      for (const warning of result.warnings)
        line(err, `${paint(err, "yellow", "warning:")} ${result.file}: ${warning}`);
      return;
    case "failed":
      line(err, `${paint(err, "red", "cannot renew")} ${result.file}: ${result.reason}`);
  }
}
