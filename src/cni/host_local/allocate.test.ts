import { describe, expect, test } from "bun:test";
import { type Address, parseAddress } from "../../ip/address.ts";
import { nextFree } from "./allocate.ts";
import { capacityOf, readRangeSet, setText } from "./range.ts";

const setOf = (...ranges: object[]) => {
  const faults: string[] = [];
  const set = readRangeSet(ranges, "set", faults);
  expect(faults).toEqual([]);
  return set;
};

describe("nextFree gives the address after the last", () => {
  const small = setOf({ subnet: "10.5.1.0/29" });
  const two = setOf({ subnet: "10.5.1.0/30" }, { subnet: "10.5.2.0/29", rangeStart: "10.5.2.3", rangeEnd: "10.5.2.4" });
  const six = setOf({ subnet: "fd00::/126", gateway: "fd00::2" });
  test.each([
    ["from the start", small, undefined, [], "10.5.1.2"],
    ["after the last", small, "10.5.1.3", [], "10.5.1.4"],
    ["round the end, past the gateway", small, "10.5.1.6", [], "10.5.1.2"],
    ["past those taken", small, "10.5.1.3", ["10.5.1.4", "10.5.1.5"], "10.5.1.6"],
    [
      "the last itself when only it is free",
      small,
      "10.5.1.4",
      ["10.5.1.2", "10.5.1.3", "10.5.1.5", "10.5.1.6"],
      "10.5.1.4",
    ],
    [
      "none when all are taken",
      small,
      "10.5.1.4",
      ["10.5.1.2", "10.5.1.3", "10.5.1.4", "10.5.1.5", "10.5.1.6"],
      undefined,
    ],
    ["from the start when the last is of another range", small, "10.6.0.9", [], "10.5.1.2"],
    ["out of the second range when the first is used up", two, "10.5.1.2", [], "10.5.2.3"],
    ["out of the first range after the second", two, "10.5.2.4", [], "10.5.1.2"],
    ["IPv6, whose last address is one as others", six, "fd00::1", [], "fd00::3"],
  ] as const)("%s", (_, set, last, taken, want) => {
    const isTaken = (address: Address) => (taken as readonly string[]).includes(address);
    expect(nextFree(set, parseAddress(last ?? ""), isTaken)?.address).toBe(want as Address);
  });

  test("capacity and text leave out what is never given", () => {
    expect([small, two, six].map(capacityOf)).toEqual([5n, 3n, 2n]);
    expect(setText(two)).toBe("10.5.1.1-10.5.1.2,10.5.2.3-10.5.2.4");
  });
});
