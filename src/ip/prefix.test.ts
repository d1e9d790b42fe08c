import { describe, expect, test } from "bun:test";
import { type Address, addressNumber } from "./address.ts";
import { ADDRESS_BITS, type Family } from "./family.ts";
import {
  addressAt,
  contains,
  containsAddress,
  isNetwork,
  maskAddress,
  networkOf,
  overlaps,
  type Prefix,
  parsePrefix,
  prefixAddress,
  prefixFamily,
  prefixLength,
  subnetAfter,
} from "./prefix.ts";

const prefix = (text: string) => text as Prefix;

test.each([
  ["10.5.1.1/24", "10.5.1.1/24", "10.5.1.0/24", "ipv4"],
  ["0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/0", "ipv4"],
  ["10.5.1.7/32", "10.5.1.7/32", "10.5.1.7/32", "ipv4"],
  ["10.255.255.255/9", "10.255.255.255/9", "10.128.0.0/9", "ipv4"],
  ["FD00:0::1/64", "fd00::1/64", "fd00::/64", "ipv6"],
  ["fd00:ffff::/17", "fd00:ffff::/17", "fd00:8000::/17", "ipv6"],
  ["::1/128", "::1/128", "::1/128", "ipv6"],
])("parsePrefix(%j)", (text, canonical, network, family) => {
  const parsed = parsePrefix(text);
  expect(parsed).toBe(prefix(canonical));
  expect(networkOf(prefix(canonical))).toBe(prefix(network));
  expect(isNetwork(prefix(canonical))).toBe(canonical === network);
  expect(isNetwork(prefix(network))).toBe(true);
  expect(prefixFamily(prefix(canonical)) as string).toBe(family);
  expect(`${prefixAddress(prefix(canonical))}/${prefixLength(prefix(canonical))}`).toBe(canonical);
});

test.each([
  "",
  "10.5.1.0",
  "10.5.1.0/",
  "10.5.1.0/33",
  "10.5.1.0/024",
  "10.5.1.0/+4",
  "10.5.1.0/24/8",
  "10.5.1.0/ 24",
  "/24",
  "::/129",
  "10.5/16",
])("parsePrefix refuses %j", (text) => {
  expect(parsePrefix(text)).toBeUndefined();
});

test.each([
  ["10.5.0.0/16", "10.5.1.0/24", "contains"],
  ["10.5.0.0/16", "10.5.0.0/16", "equals"],
  ["10.5.0.0/16", "10.6.0.0/24", "apart"],
  ["10.4.0.0/15", "10.5.255.255/32", "contains"],
  ["0.0.0.0/0", "255.0.0.0/8", "contains"],
  ["10.5.1.128/25", "10.5.1.0/25", "apart"],
  ["fd00::/48", "fd00:0:0:5::/64", "contains"],
  ["fd00::/63", "fd00:0:0:2::/64", "apart"],
  ["::/0", "10.0.0.0/8", "apart"],
  ["0.0.0.0/0", "::/0", "apart"],
])("%s and %s: %s", (outer, inner, relation) => {
  expect(contains(prefix(outer), prefix(inner))).toBe(relation !== "apart");
  expect(contains(prefix(inner), prefix(outer))).toBe(relation === "equals");
  expect(overlaps(prefix(outer), prefix(inner))).toBe(relation !== "apart");
  expect(overlaps(prefix(inner), prefix(outer))).toBe(relation !== "apart");
});

describe.each<[Family, readonly string[]]>([
  ["ipv4", ["10.0.0.0", "10.85.170.255", "10.85.170.127", "138.85.170.255"]],
  ["ipv6", ["fd00::", "fd00:aaaa:5555:ff00:ff:a5a5::1", "fd00:aaaa:5555:ff00:ff:a5a5:1:1"]],
])("%s, every length", (family, texts) => {
  const addresses = texts as readonly Address[];

  test("maskAddress, networkOf, isNetwork and containsAddress agree with shifts of the whole number", () => {
    for (const a of addresses) {
      const bits = ADDRESS_BITS[family];
      for (let length = 0; length <= bits; length++) {
        const hostBits = BigInt(bits - length);
        const masked = (addressNumber(a) >> hostBits) << hostBits;
        expect(addressNumber(maskAddress(a, length))).toBe(masked);
        expect(isNetwork(prefix(`${a}/${length}`))).toBe(masked === addressNumber(a));
        for (const b of addresses) {
          const same = addressNumber(a) >> hostBits === addressNumber(b) >> hostBits;
          expect([a, length, b, containsAddress(prefix(`${a}/${length}`), b)]).toEqual([a, length, b, same]);
        }
      }
    }
  });
});

test("addressAt and subnetAfter count from the prefix", () => {
  expect(addressAt(prefix("10.5.1.0/24"), 1n)).toBe("10.5.1.1" as Address);
  expect(addressAt(prefix("fd00::/64"), 0x1_0000n)).toBe("fd00::1:0" as Address);
  expect(subnetAfter(prefix("10.5.1.0/24"), 2n)).toBe(prefix("10.5.3.0/24"));
  expect(subnetAfter(prefix("10.5.255.0/24"), 1n)).toBe(prefix("10.6.0.0/24"));
  expect(subnetAfter(prefix("fd00:0:0:ffff::/64"), 1n)).toBe(prefix("fd00:0:1::/64"));
  expect(() => subnetAfter(prefix("255.255.255.0/24"), 1n)).toThrow("out of range");
});
