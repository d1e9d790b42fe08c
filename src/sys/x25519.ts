// Public keys of X25519 (RFC 7748), as WireGuard has them. Private keys are 32 bytes of any value; clamping is part of the function.

import { createPrivateKey, createPublicKey } from "node:crypto";

export const KEY_BYTES = 32;

/** PKCS #8 around a private key: version 0, algorithm 1.3.101.110, an octet string in an octet string (RFC 8410, section 7). */
const PKCS8_HEAD = Buffer.from("302e020100300506032b656e04220420", "hex");

/** The public key of a private key. */
export function x25519(privateKey: Uint8Array): Uint8Array {
  if (privateKey.length !== KEY_BYTES) throw new RangeError(`a private key has ${KEY_BYTES} bytes`);
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, privateKey]), format: "der", type: "pkcs8" });
  // SubjectPublicKeyInfo ends with the key.
  return Uint8Array.from(createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-KEY_BYTES));
}
