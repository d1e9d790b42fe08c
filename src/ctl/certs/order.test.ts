import { expect, test } from "bun:test";
import { ConfigError } from "../../config/fault.ts";
import { authorityWish, certificateWish } from "./order.ts";

const FILES: Readonly<Record<string, string>> = {
  "csr.json":
    '{"CN": "json", "hosts": ["a"], "key": {"algo": "rsa", "size": 2048}, "names": [{"O": "org", "OU": "unit"}], "ca": {"expiry": "10y"}}',
  "lonely.json": '{"CN": "json"}',
  "bad.json": '{"CN": "x}',
  "config.json": '{"signing": {"profiles": {"p": {"usages": ["signing", "server auth"], "expiry": "2y"}}}}',
};

function read(flag: string, path: string): string {
  const text = FILES[path];
  if (text === undefined) throw new ConfigError([{ where: flag, got: `${path}: ENOENT`, want: "a file" }]);
  return text;
}

const YEAR_MS = 31_536_000_000;

test("flags alone make an order, with the defaults of cfssl", () => {
  const wish = certificateWish({ cn: "etcd", org: "o", hosts: "10.0.0.1, ::1" }, read);
  expect(wish).toEqual({
    subject: { commonName: "etcd", organizations: ["o"] },
    hosts: ["10.0.0.1", "::1"],
    key: { algorithm: "ecdsa", bits: 256 },
    usages: ["signing", "server auth", "client auth"],
    expiryMs: YEAR_MS,
    warnings: [],
  });
  expect(authorityWish({ cn: "ca" }, read).expiryMs).toBe(5 * YEAR_MS);
});

test("flags go before what files say", () => {
  const files = { csr: "csr.json", config: "config.json", profile: "p" };
  expect(certificateWish(files, read)).toMatchObject({
    subject: { commonName: "json", organizations: ["org"], units: ["unit"] },
    hosts: ["a"],
    key: { algorithm: "rsa", bits: 2048 },
    expiryMs: 2 * YEAR_MS,
    usages: ["signing", "server auth"],
  });
  expect(
    certificateWish({ ...files, cn: "x", org: "y", key: "ecdsa:521", expiry: "1d", hosts: "b" }, read),
  ).toMatchObject({
    subject: { commonName: "x", organizations: ["y"], units: ["unit"] },
    hosts: ["b"],
    key: { algorithm: "ecdsa", bits: 521 },
    expiryMs: YEAR_MS / 365,
  });
  expect(authorityWish({ csr: "csr.json" }, read).expiryMs).toBe(10 * YEAR_MS);
});

test("an RSA key may have session keys sent to it, an elliptic one may not", () => {
  const usages = (key: string) => certificateWish({ cn: "a", usage: "client", key }, read).usages;
  expect(usages("rsa:2048")).toEqual(["signing", "client auth", "key encipherment"]);
  expect(usages("ecdsa:384")).toEqual(["signing", "client auth"]);
});

test("a server without names is a fault with flags, and a warning with a request that cfssl would take", () => {
  expect(() => certificateWish({ cn: "a", usage: "server" }, read)).toThrow("--hosts: missing");
  expect(certificateWish({ cn: "a", usage: "client" }, read).warnings).toEqual([]);
  expect(certificateWish({ csr: "lonely.json" }, read).warnings).toEqual([
    "without hosts no client accepts this certificate of a server",
  ]);
});

test.each([
  [{}, ["--cn: missing", "--hosts: missing"]],
  [
    { csr: "none.json", usage: "sever", key: "rsa:1024", expiry: "1" },
    [
      "--csr: got none.json: ENOENT",
      "--key: got rsa:1024",
      "--usage: got sever, want one of server, client, peer",
      "--expiry: got 1,",
    ],
  ],
  [
    { csr: "bad.json", hosts: "a:1,", profile: "p" },
    [
      "bad.json, line 1, column 8: got",
      '--hosts: got "a:1"',
      '--hosts: got ""',
      "--config: missing, want the file that has the profile p",
    ],
  ],
  [
    { cn: "a", hosts: "a", usage: "peer", config: "none.json" },
    ["--usage: got peer, want no --usage beside --config", "--config: got none.json: ENOENT"],
  ],
])("all that is wrong in %j is named", (flags, faults) => {
  let message = "";
  try {
    certificateWish(flags, read);
  } catch (error) {
    message = (error as Error).message;
  }
  const lines = message.split("\n");
  expect(lines.length).toBe(faults.length);
  for (const [i, fault] of faults.entries()) expect(lines[i]).toStartWith(fault);
});
