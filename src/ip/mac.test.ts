import { expect, test } from "bun:test";
import { isUnicastMac, type Mac, macBytes, macFromBytes, macFromRandom, parseMac } from "./mac.ts";

test.each([
  ["aa:bb:cc:dd:ee:ff", "aa:bb:cc:dd:ee:ff"],
  ["AA:0B:cC:00:01:fF", "aa:0b:cc:00:01:ff"],
  ["aa:bb:cc:dd:ee", undefined],
  ["aa:bb:cc:dd:ee:ff:00", undefined],
  ["aa-bb-cc-dd-ee-ff", undefined],
  ["a:bb:cc:dd:ee:ff", undefined],
  ["ag:bb:cc:dd:ee:ff", undefined],
  [" aa:bb:cc:dd:ee:ff", undefined],
  ["aa:bb:cc:dd:ee:ff\n", undefined],
  ["", undefined],
])("parseMac(%j) is %p", (text, mac) => {
  expect(parseMac(text)).toBe(mac as Mac | undefined);
});

test("macBytes and macFromBytes undo each other", () => {
  const bytes = Uint8Array.of(0, 1, 0x0f, 0x10, 0xfe, 0xff);
  expect(macFromBytes(bytes)).toBe("00:01:0f:10:fe:ff" as Mac);
  expect(macBytes("00:01:0f:10:fe:ff" as Mac)).toEqual(bytes);
  expect(() => macFromBytes(bytes.subarray(1))).toThrow("from 5 bytes: want 6");
});

test.each([
  ["02:00:00:00:00:01", true],
  ["fe:ff:ff:ff:ff:ff", true],
  ["00:00:00:00:00:00", false],
  ["01:00:5e:00:00:01", false],
  ["ff:ff:ff:ff:ff:ff", false],
])("isUnicastMac(%s) is %p", (mac, unicast) => {
  expect(isUnicastMac(mac as Mac)).toBe(unicast);
});

test("macFromRandom is locally administered and unicast whatever the bytes, and leaves them alone", () => {
  for (let first = 0; first < 256; first++) {
    const bytes = Uint8Array.of(first, 1, 2, 3, 4, 5);
    const mac = macFromRandom(bytes);
    expect(isUnicastMac(mac)).toBe(true);
    expect((macBytes(mac)[0] ?? 0) & 0x02).toBe(0x02);
    expect(mac.slice(2)).toBe(":01:02:03:04:05");
    expect(bytes[0]).toBe(first);
  }
});
