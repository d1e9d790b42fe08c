import { describe, expect, test } from "bun:test";
import { isIP } from "node:net";
import {
  type Address,
  addressBytes,
  addressFromBytes,
  addressFromNumber,
  addressNumber,
  familyOf,
  isUnicastAddress,
  parseAddress,
} from "./address.ts";
import type { Family } from "./family.ts";

/** A fixed sequence (mulberry32), so that a failure comes back. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What the WHATWG URL parser makes of an address: independent of ours, and RFC 5952 but for IPv4-mapped addresses. */
function urlText(address: string): string {
  return new URL(address.includes(":") ? `http://[${address}]/` : `http://${address}/`).hostname.replace(/[[\]]/g, "");
}

describe("parseAddress makes text canonical (RFC 5952)", () => {
  test.each([
    ["4 zero groups lose to none", "2001:0db8:0:0:0:0:2:1", "2001:db8::2:1"],
    ["one zero group stays (4.2.2)", "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["one zero group as :: is spelt out", "2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["the longest run (4.2.3)", "2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["the first of equal runs (4.2.3)", "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["lower case (4.3)", "2001:DB8::ABCD", "2001:db8::abcd"],
    ["leading zeros (4.1)", "fd00:0005:0002::", "fd00:5:2::"],
    ["IPv4-mapped is dotted (5)", "::FFFF:0a00:1", "::ffff:10.0.0.1"],
    ["dotted tail elsewhere is not", "64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
    ["all zeros", "0:0:0:0:0:0:0:0", "::"],
    ["a run at the end", "1:0:0:0:0:0:0:0", "1::"],
    ["IPv4", "10.5.1.0", "10.5.1.0"],
  ])("%s", (_, given, canonical) => {
    expect(parseAddress(given)).toBe(canonical as Address);
    expect(parseAddress(canonical)).toBe(canonical as Address);
  });
});

test.each([
  "",
  "10.5.1",
  "10.5.1.0.0",
  "10.5.1.",
  ".10.5.1",
  "10..1.0",
  "010.5.1.0",
  "10.5.1.256",
  "10.5.1.99999999999",
  "10.5.1.0/24",
  " 10.5.1.0",
  "10.5.1.0\n",
  "0x0a.5.1.0",
  "１0.5.1.0",
  ":",
  ":::",
  ":1",
  "1:",
  "1::2::3",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4:5:6:7::8",
  "::12345",
  "::g",
  "fe80::1%eth0",
  "::1.2.3",
  "::1.2.3.4.5",
  "::1.2.3.4:5",
  "1:2:3:4:5:6:7:1.2.3.4",
  "1.2.3.4::",
])("parseAddress refuses %j", (text) => {
  expect(parseAddress(text)).toBeUndefined();
});

test("parseAddress takes what node:net takes, and spells it as the URL parser does", () => {
  const random = randomNumbers(1);
  const alphabet = "0123456789abcdefF:::::....";
  let accepted = 0;
  for (let round = 0; round < 60_000; round++) {
    const length = 1 + Math.floor(random() * 16);
    const text = Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join("");
    const address = parseAddress(text);
    expect([text, address !== undefined]).toEqual([text, isIP(text) !== 0]);
    if (!address) continue;
    accepted++;
    if (!address.startsWith("::ffff:")) expect(address as string).toBe(urlText(text));
  }
  expect(accepted).toBeGreaterThan(1_000);
});

describe.each<[Family, number]>([
  ["ipv4", 4],
  ["ipv6", 16],
])("%s", (family, width) => {
  const random = randomNumbers(width);
  // Half of the bytes are zero, for runs of zero groups of every length and place.
  const samples = Array.from({ length: 5_000 }, () =>
    Uint8Array.from({ length: width }, () => (random() < 0.5 ? 0 : Math.floor(random() * 256))),
  );

  test("addressFromBytes and addressBytes undo each other, and the text is canonical", () => {
    for (const bytes of samples) {
      const address = addressFromBytes(bytes);
      expect(addressBytes(address)).toEqual(new Uint8Array(bytes));
      expect(parseAddress(address)).toBe(address);
      expect(familyOf(address)).toBe(family);
      if (!address.startsWith("::ffff:")) expect(urlText(address)).toBe(address);
    }
  });

  test("addressNumber is the bytes read as one number, and addressFromNumber undoes it", () => {
    for (const bytes of samples.slice(0, 500)) {
      const address = addressFromBytes(bytes);
      const number = addressNumber(address);
      expect(number).toBe(BigInt(`0x${Buffer.from(bytes).toString("hex")}`));
      expect(addressFromNumber(number, family)).toBe(address);
    }
  });

  test("addressFromNumber refuses what does not fit", () => {
    expect(() => addressFromNumber(1n << BigInt(width * 8), family)).toThrow("out of range");
    expect(() => addressFromNumber(-1n, family)).toThrow("out of range");
  });
});

test("addressFromBytes refuses other lengths, addressBytes what is not an address", () => {
  expect(() => addressFromBytes(new Uint8Array(5))).toThrow("from 5 bytes: want 4 or 16");
  expect(() => addressBytes("10.5" as Address)).toThrow('Cannot encode "10.5"');
});

test.each([
  ["192.0.2.1", true],
  ["10.0.0.0", true],
  ["0.0.0.0", false],
  ["127.0.0.2", false],
  ["223.255.255.255", true],
  ["224.0.0.1", false],
  ["239.1.2.3", false],
  ["240.0.0.1", true],
  ["255.255.255.255", false],
  ["fd00::1", true],
  ["fe80::1", true],
  ["::", false],
  ["::1", false],
  ["ff02::1", false],
  ["::ffff:192.0.2.1", false],
])("isUnicastAddress(%s) is %p", (address, unicast) => {
  expect(isUnicastAddress(address as Address)).toBe(unicast);
});
