import { describe, expect, test } from "bun:test";
import type { Address } from "../ip/address.ts";
import { formatLeaseAttributes, parseLeaseAttributes, sameAttributes } from "./attributes.ts";
import type { LeaseAttributes } from "./lease.ts";

const ipv4 = "192.0.2.1" as Address;
const ipv6 = "2001:db8::1" as Address;
const data = { VNI: 1, VtepMAC: "82:4b:b6:2f:54:4e" };

/** Values as upstream's versions write them, and what they mean. */
const VALUES: readonly [name: string, json: string, attributes: LeaseAttributes][] = [
  [
    "vxlan, IPv4",
    '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"82:4b:b6:2f:54:4e"}}',
    { publicIp: { ipv4 }, backendType: "vxlan", backendData: { ipv4: data } },
  ],
  [
    "vxlan, both families",
    '{"PublicIP":"192.0.2.1","PublicIPv6":"2001:db8::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"82:4b:b6:2f:54:4e"},"BackendV6Data":{"VNI":1,"VtepMAC":"82:4b:b6:2f:54:4e"}}',
    { publicIp: { ipv4, ipv6 }, backendType: "vxlan", backendData: { ipv4: data, ipv6: data } },
  ],
  [
    "udp, no type",
    '{"PublicIP":"192.0.2.1","PublicIPv6":null}',
    { publicIp: { ipv4 }, backendType: "", backendData: {} },
  ],
  [
    "extension, a text as data",
    '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"extension","BackendData":"a\\nb"}',
    { publicIp: { ipv4 }, backendType: "extension", backendData: { ipv4: "a\nb" } },
  ],
];

test("formatLeaseAttributes leaves PublicIPv6 out in the form of etcd v2's time, unless there is one", () => {
  const attributes = { publicIp: { ipv4 }, backendType: "vxlan", backendData: { ipv4: { VtepMAC: data.VtepMAC } } };
  expect(formatLeaseAttributes(attributes, "etcd2")).toBe(
    '{"PublicIP":"192.0.2.1","BackendType":"vxlan","BackendData":{"VtepMAC":"82:4b:b6:2f:54:4e"}}',
  );
  expect(formatLeaseAttributes({ ...attributes, publicIp: { ipv4, ipv6 } }, "etcd2")).toContain(
    `"PublicIPv6":"${ipv6}"`,
  );
});

describe.each(VALUES)("%s", (_, json, attributes) => {
  test("formatLeaseAttributes writes upstream's text", () => {
    expect(formatLeaseAttributes(attributes)).toBe(json);
  });
  test("parseLeaseAttributes reads it back", () => {
    expect(parseLeaseAttributes(json)).toEqual(attributes);
  });
});

test.each([
  ["v0.7.1, which has no PublicIPv6", '{"PublicIP":"192.0.2.1","BackendType":"host-gw"}', "host-gw"],
  ["a type in capitals", '{"PublicIP":"192.0.2.1","BackendType":"VXLAN"}', "vxlan"],
  ["null for what is absent", '{"PublicIP":"192.0.2.1","PublicIPv6":"","BackendType":null,"BackendData":null}', ""],
])("parseLeaseAttributes takes %s", (_, json, backendType) => {
  expect(parseLeaseAttributes(json)).toEqual({ publicIp: { ipv4 }, backendType, backendData: {} });
});

test.each([
  ["", 'its value is not JSON: ""'],
  ['{"PublicIP":"192.0.2.1"', 'its value is not JSON: "{\\"PublicIP\\":\\"192.0.2.1\\""'],
  ["\n[1]\x1b[2J", 'its value is not JSON: "\\n[1]\\u001b[2J"'],
  ["\n[1]", 'its value is not a JSON object: "\\n[1]"'],
  ["null", 'its value is not a JSON object: "null"'],
  ["{}", "it has neither PublicIP nor PublicIPv6"],
  ['{"PublicIP":"192.0.2.256"}', 'PublicIP is "192.0.2.256", want an ipv4 address'],
  ['{"PublicIP":"2001:db8::1"}', 'PublicIP is "2001:db8::1", want an ipv4 address'],
  ['{"PublicIP":3221225985}', "PublicIP is 3221225985, want an ipv4 address"],
  ['{"PublicIP":"192.0.2.1","PublicIPv6":"192.0.2.1"}', 'PublicIPv6 is "192.0.2.1", want an ipv6 address'],
  ['{"PublicIP":"192.0.2.1","BackendType":7}', "BackendType is 7, want text"],
  [`{"PublicIP":"${"1".repeat(500)}"}`, `PublicIP is "${"1".repeat(79)}, want an ipv4 address`],
  [`{"a":${"[".repeat(9_000)}${"]".repeat(9_000)}}`, "its value has 18006 characters, want at most 16384"],
])("parseLeaseAttributes refuses %p", (json, reason) => {
  expect(parseLeaseAttributes(json)).toEqual({ kind: "refusal", reason });
});

test("sameAttributes sees a change of any part", () => {
  const base: LeaseAttributes = { publicIp: { ipv4 }, backendType: "vxlan", backendData: { ipv4: data } };
  expect(sameAttributes(base, { ...base, backendData: { ipv4: { ...data } } })).toBe(true);
  expect(sameAttributes(base, { ...base, publicIp: { ipv4, ipv6 } })).toBe(false);
  expect(sameAttributes(base, { ...base, backendType: "" })).toBe(false);
  expect(sameAttributes(base, { ...base, backendData: { ipv4: { ...data, VtepMAC: "82:4b:b6:2f:54:4f" } } })).toBe(
    false,
  );
  expect(sameAttributes(base, { ...base, backendData: { ipv4: data, ipv6: data } })).toBe(false);
});

test("the deepest value that is read can be written", () => {
  const depth = 8_000;
  const deep = parseLeaseAttributes(`{"PublicIP":"192.0.2.1","BackendData":${"[".repeat(depth)}${"]".repeat(depth)}}`);
  expect("kind" in deep).toBe(false);
  if (!("kind" in deep)) expect(sameAttributes(deep, deep)).toBe(true);
});
