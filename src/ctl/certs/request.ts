// A certificate signing request (PKCS #10, RFC 2986), for an authority that is elsewhere or to be kept beside the certificate as cfssljson does.

import { Attributes, CertificationRequest, CertificationRequestInfo } from "@peculiar/asn1-csr";
import { AsnConvert } from "@peculiar/asn1-schema";
import { Attribute, Extensions, id_ce_subjectAltName, SubjectPublicKeyInfo } from "@peculiar/asn1-x509";
import { extension, pem } from "./certificate.ts";
import { encodeHosts, hostFrom } from "./host.ts";
import { type KeyPair, signatureAlgorithm, signWith } from "./key_pair.ts";
import { encodeSubject, type Subject } from "./subject.ts";

/** PKCS #9: the extensions that the certificate is asked to have. */
const EXTENSION_REQUEST = "1.2.840.113549.1.9.14";

export function makeRequest(pair: KeyPair, subject: Subject, hosts: readonly string[]): string {
  const extensions = new Extensions([extension(id_ce_subjectAltName, encodeHosts(hosts.map(hostFrom)))]);
  const wanted = new Attribute({ type: EXTENSION_REQUEST, values: [AsnConvert.serialize(extensions)] });
  const spki = pair.publicKey.export({ type: "spki", format: "der" });
  const certificationRequestInfo = new CertificationRequestInfo({
    subject: encodeSubject(subject),
    subjectPKInfo: AsnConvert.parse(spki, SubjectPublicKeyInfo),
    attributes: new Attributes(hosts.length > 0 ? [wanted] : []),
  });
  const request = new CertificationRequest({
    certificationRequestInfo,
    signatureAlgorithm: signatureAlgorithm(pair.spec),
    signature: signWith(pair, AsnConvert.serialize(certificationRequestInfo)),
  });
  return pem("CERTIFICATE REQUEST", AsnConvert.serialize(request));
}
