// Who a certificate is for: the attributes of a distinguished name that cfssl knows (RFC 5280 4.1.2.4, X.520), and their form in a certificate. Names
// are compared byte for byte by what verifies a chain, so the order and the string types are cfssl's: one set for each attribute, printable text where the
// characters allow it, else UTF-8.

import { AsnConvert } from "@peculiar/asn1-schema";
import { AttributeTypeAndValue, AttributeValue, Name, RelativeDistinguishedName } from "@peculiar/asn1-x509";

export interface Subject {
  /** CN; etcd takes it for the user's name. */
  readonly commonName?: string;
  readonly countries?: readonly string[];
  readonly states?: readonly string[];
  readonly localities?: readonly string[];
  readonly organizations?: readonly string[];
  readonly units?: readonly string[];
}

/** In the order in which they stand in a certificate. */
const ATTRIBUTES = [
  { short: "C", oid: "2.5.4.6", field: "countries" },
  { short: "ST", oid: "2.5.4.8", field: "states" },
  { short: "L", oid: "2.5.4.7", field: "localities" },
  { short: "O", oid: "2.5.4.10", field: "organizations" },
  { short: "OU", oid: "2.5.4.11", field: "units" },
] as const;
const COMMON_NAME = "2.5.4.3";

/** X.680 PrintableString. */
const PRINTABLE = /^[A-Za-z0-9 '()+,\-./:=?]*$/;

export function encodeSubject(subject: Subject): Name {
  const sets = ATTRIBUTES.map(({ oid, field }) => attributeSet(oid, subject[field] ?? []));
  const common = attributeSet(COMMON_NAME, subject.commonName ? [subject.commonName] : []);
  return new Name([...sets, common].flatMap((set) => (set ? [set] : [])));
}

/** "C=JP, O=example, CN=etcd", in the order of the certificate; several values of one attribute are joined by " + ". */
export function formatName(name: Name): string {
  const part = ({ type, value }: AttributeTypeAndValue) => `${shortName(type)}=${value.toString()}`;
  return name.map((set) => set.map(part).join(" + ")).join(", ");
}

export function commonName(name: Name): string | undefined {
  return name.flatMap((set) => set.filter(({ type }) => type === COMMON_NAME))[0]?.value.toString();
}

function shortName(oid: string): string {
  if (oid === COMMON_NAME) return "CN";
  return ATTRIBUTES.find((attribute) => attribute.oid === oid)?.short ?? oid;
}

function attributeSet(oid: string, values: readonly string[]): RelativeDistinguishedName | undefined {
  if (values.length === 0) return undefined;
  const encoded = values.map((text) => {
    const value = new AttributeValue(PRINTABLE.test(text) ? { printableString: text } : { utf8String: text });
    const attribute = new AttributeTypeAndValue({ type: oid, value });
    return { attribute, bytes: Buffer.from(AsnConvert.serialize(attribute)) };
  });
  // DER: the members of a set stand in the order of their bytes.
  encoded.sort((a, b) => Buffer.compare(a.bytes, b.bytes));
  return new RelativeDistinguishedName(encoded.map(({ attribute }) => attribute));
}
