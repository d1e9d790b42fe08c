import { describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { issueCertificate, makeAuthority } from "./certificate.ts";
import type { KeySpec } from "./key_pair.ts";
import { ROLES } from "./usage.ts";
import { hasSigned } from "./verdict.ts";

const notBefore = new Date("2026-01-01T00:00:00.700Z");
const notAfter = new Date("2051-01-01T00:00:00Z");
const subject = { commonName: "authority of the test", countries: ["JP"], organizations: ["é & co"] };
const KEYS: readonly KeySpec[] = [
  { algorithm: "rsa", bits: 2048 },
  { algorithm: "ecdsa", bits: 256 },
  { algorithm: "ecdsa", bits: 384 },
  { algorithm: "ecdsa", bits: 521 },
];

describe.each(KEYS)("a key $algorithm:$bits", (key) => {
  test("of an authority signs itself and others", async () => {
    const authority = await makeAuthority({ subject, key, notBefore, notAfter, pathLength: 0 });
    const order = { subject: { commonName: "etcd" }, hosts: ["*.etcd.example", "10.0.0.1", "fd00::1"], notBefore };
    const issued = await issueCertificate(authority, { ...order, usages: ROLES.peer, key, notAfter });
    const ca = new X509Certificate(authority.certificate);
    const leaf = new X509Certificate(issued.certificate);
    expect([ca.ca, leaf.ca]).toEqual([true, false]);
    expect(ca.verify(ca.publicKey)).toBe(true);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(leaf.subjectAltName).toBe("DNS:*.etcd.example, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1");
    expect([leaf.validFromDate.toISOString(), leaf.validToDate.toISOString()]).toEqual([
      "2026-01-01T00:00:00.000Z",
      "2051-01-01T00:00:00.000Z",
    ]);
    expect(issued.key).toStartWith(`-----BEGIN ${key.algorithm === "rsa" ? "RSA" : "EC"} PRIVATE KEY-----`);
  });
});

test.each([
  [{ algorithm: "rsa", bits: 2048 }, "06092a864886f70d01010b0500"],
  [{ algorithm: "ecdsa", bits: 256 }, "300a06082a8648ce3d040302"],
] as const)("the signature of %j is named as RFC 4055 and RFC 5758 have it, in both places", async (key, name) => {
  const { certificate } = await makeAuthority({ subject, key, notBefore, notAfter });
  expect(new X509Certificate(certificate).raw.toString("hex").split(name).length - 1).toBe(2);
});

test("a certificate that was altered is not its authority's", async () => {
  const authority = await makeAuthority({ subject, notBefore, notAfter });
  const issued = await issueCertificate(authority, { subject, hosts: ["a"], usages: ROLES.peer, notBefore, notAfter });
  const [ca, leaf] = [new X509Certificate(authority.certificate), new X509Certificate(issued.certificate)];
  const altered = Buffer.from(leaf.raw);
  const at = altered.indexOf(Buffer.from("\u0082\u0001a", "latin1"));
  altered.writeUInt8(0x62, at + 2);
  expect(new X509Certificate(altered).subjectAltName).toBe("DNS:b");
  expect([hasSigned(ca, leaf), hasSigned(ca, new X509Certificate(altered))]).toEqual([true, false]);
});

test("one certificate has not the serial number of another", async () => {
  const orders = [1, 2].map(() => makeAuthority({ subject, notBefore, notAfter }));
  const [a, b] = (await Promise.all(orders)).map(({ certificate }) => new X509Certificate(certificate).serialNumber);
  expect(a).not.toBe(b);
});

test("only an authority signs, and only with its own key", async () => {
  const [one, other] = await Promise.all([1, 2].map(() => makeAuthority({ subject, notBefore, notAfter })));
  if (!one || !other) throw new Error("two were made");
  const order = { subject, hosts: [], usages: ROLES.client, notBefore, notAfter };
  const leaf = await issueCertificate(one, order);
  await expect(issueCertificate(leaf, order)).rejects.toThrow("is not an authority's");
  await expect(issueCertificate({ ...one, key: other.key }, order)).rejects.toThrow(
    "the key is not that of the certificate",
  );
  await expect(issueCertificate(one, { ...order, hosts: ["https://etcd"] })).rejects.toThrow(
    'got "https://etcd", want a DNS',
  );
});
