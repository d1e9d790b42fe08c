// Keys as WireGuard's programs write them: 32 bytes in base64.

/** Canonical: of several texts for the same bytes, the one that the kernel's bytes are read as. */
export type WireguardKey = string;

const KEY_BYTES = 32;

/** The key that a text spells, line ends around it aside; undefined for what is none. 32 zeros are none either: they stand for the absence of a key. */
export function parseKey(text: string): WireguardKey | undefined {
  const trimmed = text.trim();
  if (!/^[A-Za-z0-9+/]{43}=$/.test(trimmed)) return undefined;
  const bytes = Uint8Array.fromBase64(trimmed);
  return bytes.length === KEY_BYTES && bytes.some((byte) => byte !== 0) ? bytes.toBase64() : undefined;
}
