// The authority that signs, from its files: cfssl's -ca and -ca-key.

import { ConfigError, type Fault, gather } from "../../config/fault.ts";
import { type Authority, type Issued, readAuthority } from "./certificate.ts";
import { formatTime } from "./description.ts";
import { DAY_MS } from "./expiry.ts";
import { pathsOf, readText } from "./files.ts";

export interface AuthorityFlags {
  /** Its certificate. */
  readonly ca: string;
  /** Its key; beside the certificate when left out: ca.pem, ca-key.pem. */
  readonly caKey?: string;
}

export interface LoadedAuthority extends Issued {
  readonly authority: Authority;
}

/** Throws ConfigError when the files are no authority that can sign at `now`. */
export function loadAuthority({ ca, caKey = pathsOf(ca).key }: AuthorityFlags, now: Date): LoadedAuthority {
  const faults: Fault[] = [];
  const certificate = gather(faults, () => readText("--ca", ca));
  const key = gather(faults, () => readText("--ca-key", caKey));
  if (certificate === undefined || key === undefined) throw new ConfigError(faults);
  const authority = readable(ca, { certificate, key });
  const { validToDate } = authority.certificate;
  if (validToDate > now) return { certificate, key, authority };
  const got = `${ca}, which ended on ${formatTime(validToDate)}`;
  throw new ConfigError([{ where: "--ca", got, want: "an authority that lives; flannelctl certs ca makes one" }]);
}

function readable(ca: string, issued: Issued): Authority {
  try {
    return readAuthority(issued);
  } catch (error) {
    const got = `${ca}: ${error instanceof Error ? error.message : String(error)}`;
    throw new ConfigError([{ where: "--ca", got, want: "an authority's certificate, and its key with --ca-key" }]);
  }
}

/**
 * What to say of a certificate that ends on `notAfter`; nothing when its authority lives as long. Less than a day does not count: both are often made to
 * live equally long, one after the other.
 */
export function outlives(notAfter: Date, { certificate }: Authority): readonly string[] {
  const end = certificate.validToDate;
  return notAfter.getTime() - end.getTime() > DAY_MS
    ? [`it is of no use after its authority's end on ${formatTime(end)}`]
    : [];
}
