import { expect, test } from "bun:test";
import { familiesOf, mapFamilies } from "./family.ts";

test("familiesOf names the families that are there, IPv4 first", () => {
  expect(familiesOf({ ipv6: 0, ipv4: "" })).toEqual(["ipv4", "ipv6"]);
  expect(familiesOf({ ipv6: false })).toEqual(["ipv6"]);
  expect(familiesOf({})).toEqual([]);
});

test("mapFamilies converts what is there and leaves out what becomes undefined", () => {
  const seen: string[] = [];
  const result = mapFamilies({ ipv4: 0, ipv6: 6 }, (value, family) => {
    seen.push(`${family} ${value}`);
    return value === 6 ? undefined : value + 1;
  });
  expect(result).toEqual({ ipv4: 1 });
  expect("ipv6" in result).toBe(false);
  expect(seen).toEqual(["ipv4 0", "ipv6 6"]);
});
