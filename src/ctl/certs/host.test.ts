import { expect, test } from "bun:test";
import { parseHost } from "./host.ts";

test.each([
  ["10.0.0.1", "ip", "10.0.0.1"],
  ["::1", "ip", "::1"],
  ["FD00:0:0::1", "ip", "fd00::1"],
  ["etcd", "dns", "etcd"],
  ["etcd-1.example.org.", "dns", "etcd-1.example.org."],
  ["*.example.org", "dns", "*.example.org"],
  ["_etcd-server._tcp.example.org", "dns", "_etcd-server._tcp.example.org"],
  ["1.example", "dns", "1.example"],
  ["ops@example.org", "email", "ops@example.org"],
  ["spiffe://cluster/flanneld", "uri", "spiffe://cluster/flanneld"],
] as const)("%s is of kind %s", (text, kind, value) => {
  expect(parseHost(text)).toEqual({ kind, value });
});

test.each([
  "",
  "*",
  "a.*.org",
  "*a.org",
  "10.0.0.256",
  "10.0.0.1:2379",
  "etcd:2379",
  "https://etcd",
  "http://10.0.0.1:2379",
  "10.0.0.0/24",
  "a b",
  "-a.org",
  "a..org",
  "é.org",
  `${"a".repeat(64)}.org`,
  `${"a.".repeat(127)}org`,
])("%j is no host", (text) => {
  expect(parseHost(text)).toBeUndefined();
});
