// What a certificate says, for people and as JSON.

import { X509Certificate } from "node:crypto";
import { AsnConvert } from "@peculiar/asn1-schema";
import {
  Certificate,
  ExtendedKeyUsage,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  KeyUsage,
  SubjectAlternativeName,
} from "@peculiar/asn1-x509";
import { decodeHosts } from "./host.ts";
import { formatKeySpec, specOf } from "./key_pair.ts";
import { formatName } from "./subject.ts";
import { decodeUsages, type Usage } from "./usage.ts";

export interface Description {
  readonly subject: string;
  readonly hosts: readonly string[];
  readonly issuer: string;
  /** Hexadecimal. */
  readonly serial: string;
  /** As `--key` takes it; the type's name for keys that are neither RSA nor ECDSA. */
  readonly key: string;
  readonly usages: readonly Usage[];
  readonly authority: boolean;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SHA-256 of the whole. */
  readonly fingerprint: string;
}

export function describe(x509: X509Certificate): Description {
  const { tbsCertificate } = AsnConvert.parse(x509.raw, Certificate);
  const find = <T>(oid: string, type: new () => T): T | undefined => {
    const found = tbsCertificate.extensions?.find(({ extnID }) => extnID === oid);
    return found && AsnConvert.parse(found.extnValue.buffer, type);
  };
  const names = find(id_ce_subjectAltName, SubjectAlternativeName);
  const keyUsage = find(id_ce_keyUsage, KeyUsage);
  const purposes = find(id_ce_extKeyUsage, ExtendedKeyUsage);
  return {
    subject: formatName(tbsCertificate.subject),
    hosts: names ? decodeHosts(names).map(({ value }) => value) : [],
    issuer: formatName(tbsCertificate.issuer),
    serial: x509.serialNumber.toLowerCase(),
    key: keyOf(x509),
    usages: decodeUsages({ keyUsage, purposes }),
    authority: x509.ca,
    notBefore: x509.validFromDate,
    notAfter: x509.validToDate,
    fingerprint: x509.fingerprint256,
  };
}

function keyOf({ publicKey }: X509Certificate): string {
  try {
    return formatKeySpec(specOf(publicKey));
  } catch {
    return publicKey.asymmetricKeyType ?? "unknown";
  }
}

/** All certificates of a PEM text, in its order. Throws when one cannot be read. */
export function certificatesIn(text: string): readonly X509Certificate[] {
  const blocks =
    text.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----.*?-----END (?:TRUSTED )?CERTIFICATE-----/gs) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** "2027-01-31 12:00:00 UTC" */
export function formatTime(time: Date): string {
  return `${time.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** As lines of name and value. */
export function descriptionRows(it: Description): readonly (readonly [string, string])[] {
  const none = (list: readonly string[]) => (list.length > 0 ? list.join(", ") : "none");
  return [
    ["subject", it.subject || "none"],
    ...(it.authority ? [] : [["hosts", none(it.hosts)] as const]),
    ["issuer", it.issuer],
    ["usage", it.authority ? `authority: ${none(it.usages)}` : none(it.usages)],
    ["key", it.key],
    ["valid", `${formatTime(it.notBefore)} to ${formatTime(it.notAfter)}`],
    ["serial", it.serial],
  ];
}
