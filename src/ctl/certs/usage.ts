// What a certificate's key may be used for, in the words of cfssl's signing configuration, and their place in a certificate: a bit of the key usage or a
// purpose of the extended key usage (RFC 5280 4.2.1.3 and 4.2.1.12; the last two are Microsoft's and Netscape's).

import { ExtendedKeyUsage, KeyUsage, KeyUsageFlags } from "@peculiar/asn1-x509";

const KEY_USAGES = {
  signing: KeyUsageFlags.digitalSignature,
  "digital signature": KeyUsageFlags.digitalSignature,
  "content commitment": KeyUsageFlags.nonRepudiation,
  // As cfssl spelt it up to 1.2.
  "content committment": KeyUsageFlags.nonRepudiation,
  "key encipherment": KeyUsageFlags.keyEncipherment,
  "data encipherment": KeyUsageFlags.dataEncipherment,
  "key agreement": KeyUsageFlags.keyAgreement,
  "cert sign": KeyUsageFlags.keyCertSign,
  "crl sign": KeyUsageFlags.cRLSign,
  "encipher only": KeyUsageFlags.encipherOnly,
  "decipher only": KeyUsageFlags.decipherOnly,
} as const;

const PURPOSES = {
  any: "2.5.29.37.0",
  "server auth": "1.3.6.1.5.5.7.3.1",
  "client auth": "1.3.6.1.5.5.7.3.2",
  "code signing": "1.3.6.1.5.5.7.3.3",
  "email protection": "1.3.6.1.5.5.7.3.4",
  "s/mime": "1.3.6.1.5.5.7.3.4",
  "ipsec end system": "1.3.6.1.5.5.7.3.5",
  "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
  "ipsec user": "1.3.6.1.5.5.7.3.7",
  timestamping: "1.3.6.1.5.5.7.3.8",
  "ocsp signing": "1.3.6.1.5.5.7.3.9",
  "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
  "netscape sgc": "2.16.840.1.113730.4.1",
} as const;

type KeyUsageWord = keyof typeof KEY_USAGES;
type Purpose = keyof typeof PURPOSES;
export type Usage = KeyUsageWord | Purpose;

export const USAGES: readonly Usage[] = [
  ...(Object.keys(KEY_USAGES) as KeyUsageWord[]),
  ...(Object.keys(PURPOSES) as Purpose[]),
];

/** What the ends of a TLS connection need; a peer is both, as members of an etcd cluster are. */
export const ROLES = {
  server: ["signing", "server auth"],
  client: ["signing", "client auth"],
  peer: ["signing", "server auth", "client auth"],
} as const satisfies Readonly<Record<string, readonly Usage[]>>;

export type Role = keyof typeof ROLES;

/** An RSA key may have a session key sent to it as well, which an elliptic one cannot (RFC 8813). */
export function usagesOf(role: Role, algorithm: "rsa" | "ecdsa"): readonly Usage[] {
  return algorithm === "rsa" ? [...ROLES[role], "key encipherment"] : ROLES[role];
}

export interface EncodedUsages {
  readonly keyUsage: KeyUsage | undefined;
  readonly purposes: ExtendedKeyUsage | undefined;
}

export function encodeUsages(usages: readonly Usage[]): EncodedUsages {
  let flags = 0;
  const purposes = new Set<string>();
  for (const usage of usages) {
    if (usage in KEY_USAGES) flags |= KEY_USAGES[usage as KeyUsageWord];
    else purposes.add(PURPOSES[usage as Purpose]);
  }
  return {
    keyUsage: flags === 0 ? undefined : new KeyUsage(flags as KeyUsageFlags),
    purposes: purposes.size === 0 ? undefined : new ExtendedKeyUsage([...purposes]),
  };
}

/** Each usage once, by its first word; purposes without a word are left out. */
export function decodeUsages({ keyUsage, purposes }: EncodedUsages): readonly Usage[] {
  const flags = keyUsage?.toNumber() ?? 0;
  const oids = new Set<string>(purposes ?? []);
  const words = Object.entries(KEY_USAGES) as [KeyUsageWord, number][];
  const ends = Object.entries(PURPOSES) as [Purpose, string][];
  return [
    ...firstWords(words).filter(([, flag]) => (flags & flag) !== 0),
    ...firstWords(ends).filter(([, oid]) => oids.has(oid)),
  ].map(([word]) => word);
}

function firstWords<W, V>(entries: readonly (readonly [W, V])[]): readonly (readonly [W, V])[] {
  return entries.filter(([, value], i) => entries.findIndex(([, other]) => other === value) === i);
}
