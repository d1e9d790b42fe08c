// Private keys: which there are, how they are made and written, and what they sign with. RSA and ECDSA are what cfssl makes and what Go, OpenSSL and this
// runtime take. The forms are cfssl's (PKCS #1 and SEC 1), which every one of them reads; any PEM form is read here.

import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, sign } from "node:crypto";
import { promisify } from "node:util";
import { AlgorithmIdentifier } from "@peculiar/asn1-x509";

export type KeySpec =
  | { readonly algorithm: "rsa"; readonly bits: number }
  | { readonly algorithm: "ecdsa"; readonly bits: 256 | 384 | 521 };

export const DEFAULT_KEY: KeySpec = { algorithm: "ecdsa", bits: 256 };
/** Below, Go and OpenSSL refuse; above, cfssl does, and a handshake takes long. */
const RSA_BITS = { min: 2048, max: 8192 } as const;

const CURVES = { 256: "P-256", 384: "P-384", 521: "P-521" } as const;
const BITS_OF_CURVE: Readonly<Record<string, 256 | 384 | 521>> = {
  prime256v1: 256,
  "P-256": 256,
  secp384r1: 384,
  "P-384": 384,
  secp521r1: 521,
  "P-521": 521,
};

/** The key that somebody asks for, or undefined when there is none of this size. */
export function keySpecFrom(algorithm: string, bits: number): KeySpec | undefined {
  if (algorithm === "rsa") return bits >= RSA_BITS.min && bits <= RSA_BITS.max ? { algorithm, bits } : undefined;
  if (algorithm !== "ecdsa") return undefined;
  return bits === 256 || bits === 384 || bits === 521 ? { algorithm, bits } : undefined;
}

export interface KeyPair {
  readonly spec: KeySpec;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

const generate = promisify(generateKeyPair);

export async function makeKeyPair(spec: KeySpec): Promise<KeyPair> {
  const { privateKey } =
    spec.algorithm === "rsa"
      ? await generate("rsa", { modulusLength: spec.bits })
      : await generate("ec", { namedCurve: CURVES[spec.bits] });
  return { spec, privateKey, publicKey: createPublicKey(privateKey) };
}

/** The key of PEM text. Throws when it is none, is encrypted, or neither RSA nor ECDSA. */
export function readKeyPair(pem: string): KeyPair {
  const privateKey = createPrivateKey(pem);
  const publicKey = createPublicKey(privateKey);
  return { spec: specOf(publicKey), privateKey, publicKey };
}

/** Of a public or private key. Throws for what is neither RSA nor ECDSA on a curve of CURVES. */
export function specOf(key: KeyObject): KeySpec {
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "rsa" && modulusLength) return { algorithm: "rsa", bits: modulusLength };
  const bits = BITS_OF_CURVE[namedCurve ?? ""];
  if (key.asymmetricKeyType === "ec" && bits) return { algorithm: "ecdsa", bits };
  throw new Error(
    `got a key of type ${namedCurve ?? key.asymmetricKeyType}, want RSA or ECDSA on P-256, P-384 or P-521`,
  );
}

export function formatKeySpec({ algorithm, bits }: KeySpec): string {
  return `${algorithm}:${bits}`;
}

export function keyPem({ spec, privateKey }: KeyPair): string {
  const type = spec.algorithm === "rsa" ? "pkcs1" : "sec1";
  return privateKey.export({ format: "pem", type }).toString();
}

export function signatureAlgorithm(spec: KeySpec): AlgorithmIdentifier {
  const { oid } = signatureOf(spec);
  // RFC 4055: NULL stands for RSA's parameters; RFC 5758: ECDSA has none.
  const parameters = new Uint8Array([5, 0]).buffer;
  return new AlgorithmIdentifier({ algorithm: oid, ...(spec.algorithm === "rsa" && { parameters }) });
}

export function signWith({ spec, privateKey }: KeyPair, bytes: ArrayBuffer): ArrayBuffer {
  return new Uint8Array(sign(signatureOf(spec).digest, new Uint8Array(bytes), privateKey)).buffer;
}

/** A digest as strong as the key; as cfssl chooses. */
function signatureOf({ algorithm, bits }: KeySpec): { readonly oid: string; readonly digest: string } {
  const digest = algorithm === "rsa" ? (bits >= 4096 ? 512 : bits >= 3072 ? 384 : 256) : bits === 521 ? 512 : bits;
  const arcs =
    algorithm === "rsa"
      ? { 256: "1.2.840.113549.1.1.11", 384: "1.2.840.113549.1.1.12", 512: "1.2.840.113549.1.1.13" }
      : { 256: "1.2.840.10045.4.3.2", 384: "1.2.840.10045.4.3.3", 512: "1.2.840.10045.4.3.4" };
  return { oid: arcs[digest as 256 | 384 | 512], digest: `sha${digest}` };
}
