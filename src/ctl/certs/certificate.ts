// Makes certificates (RFC 5280): an authority that signs itself, and what it signs. ASN.1 is the library's, keys and signatures are the runtime's; what
// stands here is which fields a certificate of etcd, flanneld and their tools needs. Time is an input, so that tests can have one that is over.

import { createHash, type KeyObject, randomBytes, X509Certificate } from "node:crypto";
import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import {
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  Extension,
  Extensions,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  KeyIdentifier,
  type Name,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from "@peculiar/asn1-x509";
import { encodeHosts, hostFrom } from "./host.ts";
import {
  DEFAULT_KEY,
  type KeyPair,
  type KeySpec,
  keyPem,
  makeKeyPair,
  readKeyPair,
  signatureAlgorithm,
  signWith,
} from "./key_pair.ts";
import { encodeSubject, type Subject } from "./subject.ts";
import { encodeUsages, type Usage } from "./usage.ts";

/** PEM texts, as files hold them. */
export interface Issued {
  readonly certificate: string;
  readonly key: string;
}

/** Both to the second; also in the past. */
export interface Lifetime {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface AuthorityOrder extends Lifetime {
  readonly subject: Subject;
  /** A key to make, or one that there is; ecdsa:256 when left out. */
  readonly key?: KeySpec | KeyPair;
  /** Authorities that may stand between this one and a certificate; any number when left out. */
  readonly pathLength?: number;
}

export interface CertificateOrder extends Lifetime {
  readonly subject: Subject;
  /** DNS names, addresses, mail addresses, URIs. */
  readonly hosts: readonly string[];
  readonly usages: readonly Usage[];
  /** A key to make, or one that there is; ecdsa:256 when left out. */
  readonly key?: KeySpec | KeyPair;
}

/** A certificate authority that signed itself. */
export async function makeAuthority(order: AuthorityOrder): Promise<Issued> {
  const pair = await pairFor(order.key);
  const name = encodeSubject(order.subject);
  const constraints = new BasicConstraints({
    cA: true,
    ...(order.pathLength !== undefined && { pathLenConstraint: order.pathLength }),
  });
  const extensions = [
    ...usageExtensions(["cert sign", "crl sign"]),
    extension(id_ce_basicConstraints, constraints, true),
    extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(keyIdentifier(pair.publicKey))),
  ];
  const signer = { name, pair };
  return { certificate: signed(order, name, pair.publicKey, extensions, signer), key: keyPem(pair) };
}

/** A certificate signed by `authority`, which is looked at: see readAuthority. */
export async function issueCertificate(authority: Issued, order: CertificateOrder): Promise<Issued> {
  const signer = readAuthority(authority);
  const pair = await pairFor(order.key);
  const hosts = order.hosts.map(hostFrom);
  const extensions = [
    ...usageExtensions(order.usages),
    extension(id_ce_basicConstraints, new BasicConstraints({ cA: false }), true),
    ...keyIdentifiers(pair, signer),
    ...(hosts.length > 0 ? [extension(id_ce_subjectAltName, encodeHosts(hosts))] : []),
  ];
  const name = encodeSubject(order.subject);
  return { certificate: signed(order, name, pair.publicKey, extensions, signer), key: keyPem(pair) };
}

/**
 * The same certificate again with another lifetime: subject, names and usages are those of `old`, byte for byte, whoever made it. `key` is the old one, a
 * key to make, or another.
 */
export async function reissueCertificate(
  authority: Issued,
  old: string,
  { key, ...lifetime }: Lifetime & { readonly key: KeySpec | KeyPair },
): Promise<Issued> {
  const signer = readAuthority(authority);
  const pair = await pairFor(key);
  const { tbsCertificate } = AsnConvert.parse(new X509Certificate(old).raw, Certificate);
  const ofKeys: readonly string[] = [id_ce_subjectKeyIdentifier, id_ce_authorityKeyIdentifier];
  const extensions = [
    ...(tbsCertificate.extensions ?? []).filter(({ extnID }) => !ofKeys.includes(extnID)),
    ...keyIdentifiers(pair, signer),
  ];
  return {
    certificate: signed(lifetime, tbsCertificate.subject, pair.publicKey, extensions, signer),
    key: keyPem(pair),
  };
}

interface Signer {
  readonly name: Name;
  readonly pair: KeyPair;
}

export interface Authority extends Signer {
  readonly certificate: X509Certificate;
  readonly identifier: ArrayBuffer;
}

/** Throws when the certificate may not sign, or the key is another's. */
export function readAuthority({ certificate, key }: Issued): Authority {
  const x509 = new X509Certificate(certificate);
  if (!x509.ca) throw new Error(`the certificate of ${x509.subject.replaceAll("\n", ", ")} is not an authority's`);
  const pair = readKeyPair(key);
  if (!x509.checkPrivateKey(pair.privateKey)) throw new Error("the key is not that of the certificate");
  const { tbsCertificate } = AsnConvert.parse(x509.raw, Certificate);
  const own = tbsCertificate.extensions?.find(({ extnID }) => extnID === id_ce_subjectKeyIdentifier);
  const identifier = own
    ? AsnConvert.parse(own.extnValue.buffer, SubjectKeyIdentifier).buffer
    : keyIdentifier(x509.publicKey);
  // The name as it stands there, whatever the string types: verifiers compare bytes.
  return { certificate: x509, name: tbsCertificate.subject, pair, identifier };
}

async function pairFor(key: KeySpec | KeyPair = DEFAULT_KEY): Promise<KeyPair> {
  return "privateKey" in key ? key : await makeKeyPair(key);
}

function signed(
  { notBefore, notAfter }: Lifetime,
  subject: Name,
  publicKey: KeyObject,
  extensions: readonly Extension[],
  signer: Signer,
): string {
  const algorithm = signatureAlgorithm(signer.pair.spec);
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: serialNumber(),
    signature: algorithm,
    issuer: signer.name,
    validity: new Validity({ notBefore, notAfter }),
    subject,
    subjectPublicKeyInfo: AsnConvert.parse(publicKey.export({ type: "spki", format: "der" }), SubjectPublicKeyInfo),
    extensions: new Extensions([...extensions]),
  });
  const signatureValue = signWith(signer.pair, AsnConvert.serialize(tbsCertificate));
  const certificate = new Certificate({ tbsCertificate, signatureAlgorithm: algorithm, signatureValue });
  return pem("CERTIFICATE", AsnConvert.serialize(certificate));
}

function keyIdentifiers({ publicKey }: KeyPair, { identifier }: Authority): readonly Extension[] {
  const issuer = new AuthorityKeyIdentifier({ keyIdentifier: new KeyIdentifier(identifier) });
  return [
    extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(keyIdentifier(publicKey))),
    extension(id_ce_authorityKeyIdentifier, issuer),
  ];
}

export function pem(label: string, bytes: ArrayBuffer): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `${[`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`].join("\n")}\n`;
}

function usageExtensions(usages: readonly Usage[]): readonly Extension[] {
  const { keyUsage, purposes } = encodeUsages(usages);
  return [
    ...(keyUsage ? [extension(id_ce_keyUsage, keyUsage, true)] : []),
    ...(purposes ? [extension(id_ce_extKeyUsage, purposes)] : []),
  ];
}

export function extension(extnID: string, value: unknown, critical = false): Extension {
  return new Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

/** RFC 5280 4.2.1.2 (1): SHA-1 of the public key's bits; names the key, protects nothing. */
function keyIdentifier(publicKey: KeyObject): ArrayBuffer {
  const info = AsnConvert.parse(publicKey.export({ type: "spki", format: "der" }), SubjectPublicKeyInfo);
  return new Uint8Array(createHash("sha1").update(new Uint8Array(info.subjectPublicKey)).digest()).buffer;
}

/** RFC 5280 4.1.2.2: positive and at most 20 octets; random, since nobody keeps count. */
function serialNumber(): ArrayBuffer {
  const bytes = new Uint8Array(randomBytes(20));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.buffer;
}
