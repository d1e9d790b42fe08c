import { expect, test } from "bun:test";
import { x25519 } from "./x25519.ts";

const hex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));

// By wg(8): `wg pubkey`. The first is Bob's of RFC 7748, section 6.1; the last has bits that clamping clears.
test.each([
  [
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
  ],
  [
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f",
  ],
  ["ff".repeat(32), "847c0d2c375234f365e660955187a3735a0f7613d1609d3a6a4d8c53aeaa5a22"],
])("x25519(%s)", (privateKey, publicKey) => {
  expect(Buffer.from(x25519(hex(privateKey))).toString("hex")).toBe(publicKey);
});

test("x25519 refuses what is no key", () => {
  expect(() => x25519(new Uint8Array(31))).toThrow("a private key has 32 bytes");
});
