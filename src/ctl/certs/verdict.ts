// Whether a certificate can go on to be used: its time, who signed it, its key. For a check that runs from cron before a cluster stands still.

import type { KeyObject, X509Certificate } from "node:crypto";
import { formatTime } from "./description.ts";
import { DAY_MS } from "./expiry.ts";

export interface Circumstances {
  readonly now: Date;
  /** A certificate that ends sooner is a fault. */
  readonly warnMs: number;
  /** The authorities that may have signed it; undefined when nobody asks. */
  readonly authorities?: readonly X509Certificate[];
  /** The private key that lies beside it, and the permissions of its file; undefined when there is none to look at. */
  readonly key?: { readonly privateKey: KeyObject; readonly mode: number };
}

export interface Verdict {
  /** Undefined when no authority was given. */
  readonly signed: boolean | undefined;
  readonly daysLeft: number;
  /** What is wrong with it; empty when nothing is. */
  readonly faults: readonly string[];
}

export function judge(certificate: X509Certificate, { now, warnMs, authorities, key }: Circumstances): Verdict {
  const signers = authorities?.filter((authority) => hasSigned(authority, certificate));
  const faults = timeFaults("it", certificate, now, warnMs);
  if (authorities && signers?.length === 0) faults.push("it is not signed by the authority of --ca");
  // One of several that lives on is enough: an authority's certificate was renewed with its key.
  const ends = (signers ?? []).map((signer) => timeFaults("its authority", signer, now, warnMs));
  if (ends.length > 0 && ends.every((fault) => fault.length > 0)) faults.push(...(ends[0] ?? []));
  if (key && !certificate.checkPrivateKey(key.privateKey)) faults.push("the key beside it is another's");
  if (key && (key.mode & 0o077) !== 0) {
    faults.push(`the key beside it has mode 0${(key.mode & 0o777).toString(8)}, want 0600`);
  }
  const daysLeft = Math.floor((certificate.validToDate.getTime() - now.getTime()) / DAY_MS);
  return { signed: signers && signers.length > 0, daysLeft, faults };
}

export function hasSigned(authority: X509Certificate, certificate: X509Certificate): boolean {
  return authority.ca && certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

function timeFaults(who: string, { validFromDate, validToDate }: X509Certificate, now: Date, warnMs: number): string[] {
  const leftMs = validToDate.getTime() - now.getTime();
  if (leftMs < 0) return [`${who} ended on ${formatTime(validToDate)}`];
  if (validFromDate > now) return [`${who} begins only on ${formatTime(validFromDate)}`];
  return leftMs < warnMs ? [`${who} ends in ${Math.floor(leftMs / DAY_MS)} days, on ${formatTime(validToDate)}`] : [];
}
