// Ethernet addresses as canonical text "aa:bb:cc:dd:ee:ff", branded so that only parsed text is one.

export type Mac = string & { readonly __brand: "Mac" };

const MAC_TEXT = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** The MAC that `text` spells, six pairs of hex digits between colons in either case, or undefined. */
export function parseMac(text: string): Mac | undefined {
  const lower = text.toLowerCase();
  return MAC_TEXT.test(lower) ? (lower as Mac) : undefined;
}

export function macBytes(mac: Mac): Uint8Array {
  const bytes = new Uint8Array(6);
  for (let i = 0; i < 6; i++) bytes[i] = Number.parseInt(mac.slice(i * 3, i * 3 + 2), 16);
  return bytes;
}

/** Not a table of all bytes, which a process that reads three MACs would make for nothing. */
const DIGITS = "0123456789abcdef";

export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`Cannot read a MAC from ${bytes.length} bytes: want 6`);
  let text = "";
  for (const byte of bytes) text += `${text && ":"}${DIGITS[byte >> 4]}${DIGITS[byte & 15]}`;
  return text as Mac;
}

/** Whether a single station can own it: group bit clear (IEEE 802), not all zeros. */
export function isUnicastMac(mac: Mac): boolean {
  return mac !== "00:00:00:00:00:00" && (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0;
}

/** A locally administered unicast MAC made of six random bytes. */
export function macFromRandom(bytes: Uint8Array): Mac {
  const own = bytes.slice(0, 6);
  own[0] = ((own[0] ?? 0) & 0xfe) | 0x02;
  return macFromBytes(own);
}
