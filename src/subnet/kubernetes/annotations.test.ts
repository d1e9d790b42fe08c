import { describe, expect, test } from "bun:test";
import type { Address } from "../../ip/address.ts";
import type { LeaseAttributes } from "../../lease/lease.ts";
import {
  type Annotations,
  annotationsOf,
  attributesFrom,
  fullPrefix,
  publishedIp,
  wishedPublicIp,
} from "./annotations.ts";

const ip = (text: string) => text as Address;
const OURS: Annotations = {
  "kube-subnet-manager": "true",
  "backend-type": "vxlan",
  "backend-data": '{"VNI":1,"VtepMAC":"22:eb:dc:15:89:1e"}',
  "public-ip": "10.77.0.11",
};

test.each([
  ["flannel.alpha.coreos.com", "flannel.alpha.coreos.com/"],
  ["kb.example.com/net", "kb.example.com/net-"],
  ["kb.example.com/net-", "kb.example.com/net-"],
  ["kb.example.com/", "kb.example.com/"],
])("fullPrefix: %s → %s", (given, wanted) => {
  expect(fullPrefix(given)).toBe(wanted);
});

const read: [string, Annotations, LeaseAttributes | string | undefined][] = [
  [
    "vxlan",
    OURS,
    {
      publicIp: { ipv4: ip("10.77.0.11") },
      backendType: "vxlan",
      backendData: { ipv4: { VNI: 1, VtepMAC: "22:eb:dc:15:89:1e" } },
    },
  ],
  [
    "vxlan, dual stack",
    { ...OURS, "backend-v6-data": '{"VNI":1,"VtepMAC":"22:ea:b8:71:23:0f"}', "public-ipv6": "fd77::11" },
    {
      publicIp: { ipv4: ip("10.77.0.11"), ipv6: ip("fd77::11") },
      backendType: "vxlan",
      backendData: {
        ipv4: { VNI: 1, VtepMAC: "22:eb:dc:15:89:1e" },
        ipv6: { VNI: 1, VtepMAC: "22:ea:b8:71:23:0f" },
      },
    },
  ],
  [
    "host-gw, whose data is null",
    { ...OURS, "backend-type": "host-gw", "backend-data": "null" },
    { publicIp: { ipv4: ip("10.77.0.11") }, backendType: "host-gw", backendData: {} },
  ],
  [
    "udp, whose type is empty",
    { ...OURS, "backend-type": "", "backend-data": "null" },
    { publicIp: { ipv4: ip("10.77.0.11") }, backendType: "", backendData: {} },
  ],
  [
    "extension, whose data is a text",
    { ...OURS, "backend-type": "extension", "backend-data": '""' },
    { publicIp: { ipv4: ip("10.77.0.11") }, backendType: "extension", backendData: { ipv4: "" } },
  ],
  ["no node of flannel's", {}, undefined],
  ["one that an operator took out", { ...OURS, "kube-subnet-manager": "false" }, undefined],
  [
    "rubbish as public IP",
    { ...OURS, "public-ip": "nope" },
    'its annotation public-ip is "nope", want an ipv4 address',
  ],
  [
    "the other family",
    { ...OURS, "public-ip": "fd77::11" },
    'its annotation public-ip is "fd77::11", want an ipv4 address',
  ],
  ["no public IP", { ...OURS, "public-ip": "" }, "it has neither annotation public-ip nor public-ipv6"],
  ["rubbish as data", { ...OURS, "backend-data": "{nope" }, 'its annotation backend-data is no JSON: "{nope"'],
];
test.each(read)("attributesFrom: %s", (_title, annotations, wanted) => {
  expect(attributesFrom(annotations)).toEqual(wanted as never);
});

describe("annotationsOf", () => {
  test("writes what upstream writes, byte for byte", () => {
    const attributes = attributesFrom(OURS);
    if (typeof attributes !== "object") throw new Error("unreachable");
    const { "backend-v6-data": v6, "public-ipv6": ip6, ...texts } = annotationsOf(attributes);
    expect(texts).toEqual(OURS);
    expect([v6, ip6]).toEqual([undefined, undefined]);
  });

  test("of two families", () => {
    const both = { ...OURS, "backend-v6-data": '{"VNI":1}', "public-ipv6": "fd77::11" };
    const attributes = attributesFrom(both);
    if (typeof attributes !== "object") throw new Error("unreachable");
    expect(annotationsOf(attributes)).toEqual(both);
  });

  test.each([
    ["host-gw", { "backend-type": "host-gw", "backend-data": "null" }],
    ["", { "backend-type": "", "backend-data": "null" }],
  ])("of a backend without data: %s", (backendType, wanted) => {
    const written = annotationsOf({ publicIp: { ipv4: ip("10.77.0.11") }, backendType, backendData: {} });
    expect(written).toMatchObject(wanted);
  });
});

describe("what an operator says", () => {
  test("public IPs, in place of the flags'", () => {
    expect(wishedPublicIp({ "node-public-ip": "10.77.0.113", "node-public-ipv6": "fd77::113" })).toEqual({
      ipv4: ip("10.77.0.113"),
      ipv6: ip("fd77::113"),
    });
    expect(wishedPublicIp({})).toEqual({});
    expect(wishedPublicIp({ "node-public-ip": "10.77" })).toContain('node-public-ip is "10.77"');
  });

  test("overwritten ones, of one family or both", () => {
    const own = { ipv4: ip("10.77.0.11"), ipv6: ip("fd77::11") };
    expect(publishedIp({ "public-ip-overwrite": "192.0.2.1" }, own)).toEqual({ ...own, ipv4: ip("192.0.2.1") });
    expect(publishedIp({ "public-ipv6-overwrite": "2001:db8::1" }, own)).toEqual({ ...own, ipv6: ip("2001:db8::1") });
    expect(publishedIp({ "public-ip-overwrite": "" }, own)).toEqual(own);
    expect(publishedIp({ "public-ip-overwrite": "2001:db8::1" }, own)).toContain("want an ipv4 address");
  });
});
