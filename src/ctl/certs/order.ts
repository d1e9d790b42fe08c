// What `certs ca` and `certs issue` are asked to make: flags, cfssl's JSON, or JSON with flags over it. Everything that is wrong in any of them is named at
// once, so that nobody repairs one to meet the next.

import { ConfigError, type Fault, gather } from "../../config/fault.ts";
import { quote } from "../../config/json_fields.ts";
import { type CsrJson, readCsrJson } from "./csr_json.ts";
import { DEFAULT_AUTHORITY_EXPIRY_MS, DEFAULT_EXPIRY_MS, EXPIRY_WANTED, parseExpiry } from "./expiry.ts";
import { HOST_WANTED, parseHost } from "./host.ts";
import { DEFAULT_KEY, type KeySpec, keySpecFrom } from "./key_pair.ts";
import { readSigningProfile } from "./signing_config.ts";
import type { Subject } from "./subject.ts";
import { ROLES, type Role, type Usage, usagesOf } from "./usage.ts";

/** Flags as they were given. */
export interface SubjectFlags {
  readonly csr?: string;
  readonly cn?: string;
  readonly org?: string;
  readonly key?: string;
  readonly expiry?: string;
}

export interface CertificateFlags extends SubjectFlags {
  readonly hosts?: string;
  readonly usage?: string;
  readonly config?: string;
  readonly profile?: string;
}

export interface AuthorityWish {
  readonly subject: Subject;
  readonly hosts: readonly string[];
  readonly key: KeySpec;
  readonly expiryMs: number;
  readonly pathLength?: number;
  readonly warnings: readonly string[];
}

export interface CertificateWish extends AuthorityWish {
  readonly usages: readonly Usage[];
}

/** The text of the file at `path`, which `flag` names; throws ConfigError when it cannot be read. */
export type ReadText = (flag: string, path: string) => string;

export function authorityWish(flags: SubjectFlags, readText: ReadText): AuthorityWish {
  const faults: Fault[] = [];
  const csr = readCsr(flags, readText, faults);
  const subject = readSubject(flags, csr, faults);
  const key = readKey(flags.key, csr, faults);
  const expiryMs = readExpiry(flags.expiry, faults) ?? csr?.expiryMs ?? DEFAULT_AUTHORITY_EXPIRY_MS;
  if (faults.length > 0) throw new ConfigError(faults);
  const { hosts = [], warnings = [], pathLength } = csr ?? {};
  return { subject, hosts, key, expiryMs, warnings, ...(pathLength !== undefined && { pathLength }) };
}

export function certificateWish(flags: CertificateFlags, readText: ReadText): CertificateWish {
  const faults: Fault[] = [];
  const csr = readCsr(flags, readText, faults);
  const subject = readSubject(flags, csr, faults);
  const key = readKey(flags.key, csr, faults);
  const hosts = flags.hosts === undefined ? (csr?.hosts ?? []) : readHosts(flags.hosts, faults);
  const profile = readUsage(flags, key, readText, faults);
  const expiryMs = readExpiry(flags.expiry, faults) ?? profile.expiryMs;
  const warnings = [...(csr?.warnings ?? [])];
  if (hosts.length === 0 && profile.usages.includes("server auth") && flags.hosts === undefined) {
    // A request in JSON is cfssl's: it lets a profile for both ends make a client's certificate without names.
    if (csr) warnings.push("without hosts no client accepts this certificate of a server");
    else if (!flags.csr) {
      const want = "names and addresses by which the server is reached; or --usage=client";
      faults.push({ where: "--hosts", got: undefined, want });
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return { subject, hosts, key, usages: profile.usages, expiryMs, warnings };
}

function readCsr({ csr }: SubjectFlags, readText: ReadText, faults: Fault[]): CsrJson | undefined {
  return csr === undefined ? undefined : gather(faults, () => readCsrJson(readText("--csr", csr), csr));
}

function readSubject(flags: SubjectFlags, csr: CsrJson | undefined, faults: Fault[]): Subject {
  const subject: Subject = {
    ...csr?.subject,
    ...(flags.cn !== undefined && { commonName: flags.cn }),
    ...(flags.org !== undefined && { organizations: [flags.org] }),
  };
  // A request that could not be read has its own fault.
  if (flags.csr !== undefined && csr === undefined) return subject;
  const named = Object.values(subject).some((value) => value !== undefined && value.length > 0);
  if (!named) faults.push({ where: csr ? `${flags.csr}: CN` : "--cn", got: undefined, want: "a name, such as etcd" });
  return subject;
}

function readKey(text: string | undefined, csr: CsrJson | undefined, faults: Fault[]): KeySpec {
  if (text === undefined) return csr?.key ?? DEFAULT_KEY;
  const [, algorithm = "", bits = ""] = /^(rsa|ecdsa):(\d{1,5})$/.exec(text) ?? [];
  const spec = keySpecFrom(algorithm, Number(bits));
  if (spec) return spec;
  faults.push({ where: "--key", got: text, want: "rsa:2048 up to rsa:8192, ecdsa:256, ecdsa:384 or ecdsa:521" });
  return DEFAULT_KEY;
}

function readExpiry(text: string | undefined, faults: Fault[]): number | undefined {
  if (text === undefined) return undefined;
  const expiryMs = parseExpiry(text);
  if (expiryMs === undefined) faults.push({ where: "--expiry", got: text, want: EXPIRY_WANTED });
  return expiryMs;
}

function readHosts(text: string, faults: Fault[]): readonly string[] {
  const hosts = text.split(",").map((host) => host.trim());
  for (const host of hosts) {
    if (!parseHost(host)) faults.push({ where: "--hosts", got: quote(host), want: HOST_WANTED });
  }
  return hosts;
}

function readUsage(
  { usage, config, profile }: CertificateFlags,
  key: KeySpec,
  readText: ReadText,
  faults: Fault[],
): { readonly usages: readonly Usage[]; readonly expiryMs: number } {
  const nothing = { usages: [], expiryMs: DEFAULT_EXPIRY_MS };
  if (usage !== undefined && config !== undefined) {
    faults.push({ where: "--usage", got: usage, want: "no --usage beside --config, which says it" });
  }
  if (profile !== undefined && config === undefined) {
    faults.push({ where: "--config", got: undefined, want: `the file that has the profile ${profile}` });
    return nothing;
  }
  if (config !== undefined)
    return gather(faults, () => readSigningProfile(readText("--config", config), config, profile)) ?? nothing;
  if (usage === undefined || usage in ROLES) {
    return { usages: usagesOf((usage ?? "peer") as Role, key.algorithm), expiryMs: DEFAULT_EXPIRY_MS };
  }
  faults.push({ where: "--usage", got: usage, want: `one of ${Object.keys(ROLES).join(", ")}` });
  return nothing;
}
