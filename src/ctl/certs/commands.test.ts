import { afterEach, beforeEach, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { chmodSync, lstatSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Outputs } from "../session.ts";
import type { Terminal } from "../terminal.ts";
import { check } from "./check.ts";
import { issue, makeCa } from "./make.ts";
import { renew } from "./renew.ts";

const NOW = new Date("2026-06-01T12:00:00Z");
const DAY_MS = 86_400_000;
const later = (days: number) => new Date(NOW.getTime() + days * DAY_MS);
const { signal } = new AbortController();

let directory = "";
let output = "";
const terminal: Terminal = {
  live: false,
  colours: false,
  columns: 80,
  rows: 24,
  write: (text) => {
    output += text;
  },
};
const session: Outputs = { out: terminal, err: terminal };
const options = { force: false, keepCsr: false, json: false };
const at = (name: string) => join(directory, name);
const made = (name: string) => readFileSync(at(name), "utf8");
const mode = (name: string) => statSync(at(name)).mode & 0o777;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "certs-"));
  await makeCa({ ...options, cn: "authority", expiry: "10y", out: at("ca") }, session, NOW, signal);
  output = "";
});
afterEach(() => rmSync(directory, { recursive: true }));

const issued = (name: string, flags: Partial<Parameters<typeof issue>[0]> = {}) =>
  issue({ ...options, cn: name, hosts: "a", ca: at("ca.pem"), out: at(name), ...flags }, session, NOW, signal);
const renewed = (names: readonly string[], now: Date, flags: Partial<Parameters<typeof renew>[1]> = {}) =>
  renew(names.map(at), { ca: at("ca.pem"), days: 30, newKey: false, json: false, ...flags }, session, now, signal);
const checked = (names: readonly string[], now: Date, warnDays = 30) =>
  check(names.map(at), { ca: at("ca.pem"), warnDays, json: false }, session, now);

test("issue writes certificate, key and request with their modes, whatever the umask", async () => {
  const umask = process.umask(0);
  try {
    expect(await issued("etcd", { keepCsr: true })).toBe(0);
  } finally {
    process.umask(umask);
  }
  expect([mode("etcd.pem"), mode("etcd-key.pem"), mode("etcd.csr")]).toEqual([0o644, 0o600, 0o644]);
  expect(output).toStartWith(`wrote ${at("etcd.pem")}, ${at("etcd-key.pem")}, ${at("etcd.csr")}\n  subject  CN=etcd\n`);
  expect(output).not.toContain("PRIVATE KEY");
});

test("issue replaces nothing unless forced", async () => {
  await issued("etcd");
  const before = made("etcd-key.pem");
  await expect(issued("etcd")).rejects.toThrow(
    `--out: got ${at("etcd-key.pem")}, which exists, want another name, or --force to replace it\n--out: got ${at("etcd.pem")}`,
  );
  expect(made("etcd-key.pem")).toBe(before);
  await issued("etcd", { force: true });
  expect(made("etcd-key.pem")).not.toBe(before);
  expect(checked(["etcd.pem"], NOW)).toBe(0);
});

test("issue says what it made as JSON, and that it outlives its authority", async () => {
  await issued("etcd", { json: true, expiry: "11y" });
  expect(JSON.parse(output)).toMatchObject({
    files: { certificate: at("etcd.pem"), key: at("etcd-key.pem") },
    subject: "CN=etcd",
    issuer: "CN=authority",
    hosts: ["a"],
    key: "ecdsa:256",
    notBefore: "2026-06-01T11:55:00.000Z",
    warnings: ["it is of no use after its authority's end on 2036-05-29 11:55:00 UTC"],
  });
});

test("no certificate is made by an authority that has ended, or with another's key", async () => {
  await makeCa({ ...options, cn: "other", out: at("other") }, session, NOW, signal);
  expect(
    issue({ ...options, cn: "a", hosts: "a", ca: at("ca.pem"), out: at("a") }, session, later(3700), signal),
  ).rejects.toThrow(`--ca: got ${at("ca.pem")}, which ended on 2036-05-29 11:55:00 UTC`);
  await expect(issued("a", { caKey: at("other-key.pem") })).rejects.toThrow("the key is not that of the certificate");
});

test.each([
  ["has time left", 300, 0, "good for 64 days"],
  ["ends soon", 350, 1, "it ends in 14 days, on 2027-06-01 11:55:00 UTC"],
  ["has ended", 366, 1, "it ended on 2027-06-01 11:55:00 UTC"],
  ["has not begun", -1, 1, "it begins only on 2026-06-01 11:55:00 UTC"],
])("check of a certificate that %s", async (_, days, exitCode, words) => {
  await issued("etcd");
  output = "";
  expect(checked(["etcd.pem", "etcd-key.pem"], later(days))).toBe(exitCode);
  expect(output).toContain(`${at("etcd.pem")}: ${words}`);
});

test("check names a foreign authority, an authority's end, a foreign or open key, and what is no certificate", async () => {
  await makeCa({ ...options, cn: "authority", out: at("other") }, session, NOW, signal);
  await issued("foreign", { ca: at("other.pem") });
  await issued("long", { expiry: "20y" });
  writeFileSync(at("foreign-key.pem"), made("ca-key.pem"));
  chmodSync(at("foreign-key.pem"), 0o640);
  writeFileSync(at("empty.pem"), "");
  output = "";
  expect(checked(["foreign.pem", "empty.pem", "none.pem"], NOW)).toBe(1);
  expect(output).toContain(
    "it is not signed by the authority of --ca; the key beside it is another's; the key beside it has mode 0640, want 0600",
  );
  expect(output).toContain("empty.pem: it holds no certificate");
  expect(output).toContain("none.pem: ENOENT");
  output = "";
  expect(checked(["long.pem"], later(3640))).toBe(1);
  expect(output).toContain("long.pem: its authority ends in 9 days");
});

test("renew leaves alone what has time left, and makes the rest again with names, usages and key", async () => {
  const json = { CN: "etcd", hosts: ["a", "10.0.0.1"], names: [{ O: "x" }, { O: "é" }] };
  writeFileSync(at("csr.json"), JSON.stringify(json));
  await issue(
    { ...options, csr: at("csr.json"), expiry: "100d", ca: at("ca.pem"), out: at("etcd") },
    session,
    NOW,
    signal,
  );
  await issued("flanneld");
  const [old, key] = [made("etcd.pem"), made("etcd-key.pem")];
  expect(await renewed(["etcd", "flanneld"], later(60))).toBe(0);
  expect(made("etcd.pem")).toBe(old);
  output = "";
  expect(await renewed(["etcd", "flanneld"], later(80))).toBe(0);
  expect(output).toContain(`${at("etcd.pem")}: renewed, ends on 2026-11-28 11:55:00 UTC`);
  expect(output).toContain(`${at("flanneld.pem")}: ends on 2027-06-01 11:55:00 UTC, nothing to do`);
  const [before, after] = [new X509Certificate(old), new X509Certificate(made("etcd.pem"))];
  for (const field of ["subject", "issuer", "subjectAltName", "ca"] as const) expect(after[field]).toBe(before[field]);
  expect(after.publicKey.equals(before.publicKey)).toBe(true);
  expect(after.serialNumber).not.toBe(before.serialNumber);
  expect(made("etcd-key.pem")).toBe(key);
  expect(checked(["etcd.pem"], later(80))).toBe(0);
});

test("renew with a new key keeps kind, permissions and symbolic links", async () => {
  await issued("etcd", { key: "ecdsa:384", out: at("real") });
  chmodSync(at("real-key.pem"), 0o640);
  symlinkSync("real.pem", at("etcd.pem"));
  symlinkSync("real-key.pem", at("etcd-key.pem"));
  const before = new X509Certificate(made("real.pem"));
  expect(await renewed(["etcd.pem"], later(360), { newKey: true })).toBe(0);
  const after = new X509Certificate(made("real.pem"));
  expect(after.publicKey.equals(before.publicKey)).toBe(false);
  expect(after.publicKey.asymmetricKeyDetails?.namedCurve).toBe(before.publicKey.asymmetricKeyDetails?.namedCurve);
  expect([lstatSync(at("etcd.pem")).isSymbolicLink(), mode("real-key.pem"), mode("real.pem")]).toEqual([
    true,
    0o640,
    0o644,
  ]);
});

test("renew goes on after one that cannot be renewed, and exits with 1", async () => {
  await makeCa({ ...options, cn: "authority", out: at("other") }, session, NOW, signal);
  await issued("foreign", { ca: at("other.pem") });
  await issued("etcd");
  output = "";
  expect(await renewed(["none", "foreign", "ca", "etcd"], later(360), { json: true, days: 9999 })).toBe(1);
  expect(JSON.parse(output)).toMatchObject([
    { kind: "failed", reason: expect.stringContaining("ENOENT") },
    { kind: "failed", reason: expect.stringContaining("not signed by the authority of --ca") },
    { kind: "failed", reason: expect.stringContaining("an authority is not renewed by another") },
    { kind: "renewed", file: at("etcd.pem") },
  ]);
});
