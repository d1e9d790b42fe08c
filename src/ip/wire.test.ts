import { describe, expect, test } from "bun:test";
import { type Address, addressBytes, addressFromBytes } from "./address.ts";
import type { Mac } from "./mac.ts";
import { readAddress, readMac, writeAddress, writeMac } from "./wire.ts";

const addresses = [
  ["0.0.0.0", "00000000"],
  ["10.5.1.0", "0a050100"],
  ["1.2.3.4", "01020304"],
  ["255.255.255.255", "ffffffff"],
  ["::", "00000000000000000000000000000000"],
  ["::1", "00000000000000000000000000000001"],
  ["fd00::", "fd000000000000000000000000000000"],
  ["fd00:5:2::", "fd000005000200000000000000000000"],
  ["2001:db8::1:0:0:1", "20010db8000000000001000000000001"],
  ["2001:db8:0:1:1:1:1:1", "20010db8000000010001000100010001"],
  ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
  ["1::8", "00010000000000000000000000000008"],
  ["a::", "000a0000000000000000000000000000"],
  ["::ffff:10.0.0.1", "00000000000000000000ffff0a000001"],
  ["::10:20", "00000000000000000000000000100020"],
] as const;

describe.each(addresses)("%s", (text, hex) => {
  const length = (hex.length / 2) as 4 | 16;

  test("writeAddress puts its bytes and touches no others", () => {
    const target = new Uint8Array(24).fill(0xee);
    expect(writeAddress(target, 4, text as Address)).toBe(length);
    expect(Buffer.from(target).toString("hex")).toBe(`eeeeeeee${hex}${"ee".repeat(20 - length)}`);
  });

  test("readAddress reads its canonical text", () => {
    expect(readAddress(Buffer.from(`ee${hex}ee`, "hex"), 1, length)).toBe(text as Address);
  });
});

test("readAddress and writeAddress agree with address.ts for every pattern of zero groups", () => {
  for (let pattern = 0; pattern < 256; pattern++) {
    const bytes = new Uint8Array(16);
    for (let group = 0; group < 8; group++) if (pattern & (1 << group)) bytes[group * 2 + 1] = group + 1;
    const text = addressFromBytes(bytes);
    expect(readAddress(bytes, 0, 16)).toBe(text);
    const written: Uint8Array = new Uint8Array(16);
    writeAddress(written, 0, text);
    expect(written).toEqual(addressBytes(text));
  }
});

test("readMac and writeMac know one form", () => {
  const target = new Uint8Array(8).fill(0xee);
  writeMac(target, 1, "3e:0a:9f:00:ff:12" as Mac);
  expect(Buffer.from(target).toString("hex")).toBe("ee3e0a9f00ff12ee");
  expect(readMac(target, 1)).toBe("3e:0a:9f:00:ff:12" as Mac);
});
