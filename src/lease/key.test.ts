import { expect, test } from "bun:test";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import { formatLeaseKey, type LeaseKey, parseLeaseKey } from "./key.ts";

const subnets = (ipv4?: string, ipv6?: string) =>
  ({ ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) }) as PerFamily<Prefix>;

test.each([
  ["10.5.2.0-24", subnets("10.5.2.0/24")],
  ["10.5.2.0-24&fd00:0:0:2::-64", subnets("10.5.2.0/24", "fd00:0:0:2::/64")],
  ["fd00:0:0:2::-64", subnets(undefined, "fd00:0:0:2::/64")],
  ["0.0.0.0-0", subnets("0.0.0.0/0")],
])("a lease key %s is written and read", (key, subnet) => {
  expect(formatLeaseKey(subnet)).toBe(key as LeaseKey);
  expect(parseLeaseKey(key)).toEqual(subnet);
});

test("formatLeaseKey needs a subnet", () => {
  expect(() => formatLeaseKey({})).toThrow("of no subnet");
});

test.each([
  "",
  "config",
  "10.5.2.0",
  "10.5.2.0/24",
  "10.5.2.1-24",
  "10.5.2.0-33",
  "10.5.2.0-24-8",
  "10.5.2.0-24&",
  "&fd00::-64",
  "10.5.2.0-24&10.5.3.0-24",
  "fd00::-64&10.5.2.0-24",
  "fd00::-64&fd01::-64",
  "10.5.2.0-24&fd00::1-64",
  "10.5.2.0-24&fd00::-64&fd01::-64",
  "../10.5.2.0-24",
])("parseLeaseKey refuses %j", (key) => {
  expect(parseLeaseKey(key)).toBeUndefined();
});
