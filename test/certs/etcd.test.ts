// What etcd (Go's TLS), its tools of both generations, curl (OpenSSL or GnuTLS) and this runtime think of our certificates: each is taken where it belongs
// and refused where it does not.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import {
  type CertificateOrder,
  type Issued,
  issueCertificate,
  makeAuthority,
} from "../../src/ctl/certs/certificate.ts";
import { DAY_MS, lifetimeFrom } from "../../src/ctl/certs/expiry.ts";
import type { KeySpec } from "../../src/ctl/certs/key_pair.ts";
import { renew } from "../../src/ctl/certs/renew.ts";
import { usagesOf } from "../../src/ctl/certs/usage.ts";
import type { Outputs } from "../../src/ctl/session.ts";
import { type Member, startMember } from "./member.ts";

const KEYS: readonly KeySpec[] = [
  { algorithm: "rsa", bits: 2048 },
  { algorithm: "ecdsa", bits: 256 },
  { algorithm: "ecdsa", bits: 521 },
];

const quiet = { live: false, colours: false, columns: 80, rows: 24, write: () => {} };
const session: Outputs = { out: quiet, err: quiet };

describe.each(KEYS)("with keys $algorithm:$bits, etcd with mutual TLS", (key) => {
  const now = new Date();
  const lifetime = lifetimeFrom(now, DAY_MS);
  const client = (commonName: string): CertificateOrder => ({
    subject: { commonName },
    hosts: [],
    usages: usagesOf("client", key.algorithm),
    key,
    ...lifetime,
  });
  let member: Member;

  beforeAll(async () => {
    const [authority, other] = await Promise.all(
      ["ca", "other"].map((commonName) => makeAuthority({ subject: { commonName }, key, ...lifetime })),
    );
    if (!authority || !other) throw new Error("two were made");
    const hosts = ["127.0.0.1", "localhost"];
    const usages = usagesOf("peer", key.algorithm);
    member = await startMember(authority, await issueCertificate(authority, { ...client("etcd"), hosts, usages }));
    const add = async (name: string, ca: Issued, order: CertificateOrder) =>
      member.add(name, await issueCertificate(ca, order));
    await add("client", authority, client("flanneld"));
    await add("foreign", other, client("flanneld"));
    const ended = new Date(now.getTime() - 1000);
    await add("ended", authority, { ...client("flanneld"), notBefore: new Date(0), notAfter: ended });
    await add("serving", authority, { ...client("flanneld"), usages: usagesOf("server", key.algorithm) });
    member.add("other", other);
  });
  afterAll(() => member?.[Symbol.asyncDispose]());

  const curl = (host: string, ca: string, ...files: readonly string[]) =>
    member.run(
      "curl",
      "-sS",
      "--max-time",
      "5",
      "--cacert",
      `${ca}.pem`,
      ...files,
      `https://${host}:${member.port}/version`,
    );
  const as = (name: string) => ["--cert", `${name}.pem`, "--key", `${name}-key.pem`];

  test("serves etcdctl of both generations", async () => {
    const endpoint = `--endpoints=https://127.0.0.1:${member.port}`;
    const three = [
      "env",
      "ETCDCTL_API=3",
      "etcdctl",
      endpoint,
      "--cacert=ca.pem",
      "--cert=client.pem",
      "--key=client-key.pem",
    ];
    expect(await member.run(...three, "put", "/a", "1")).toEqual({ code: 0, text: "OK\n" });
    expect(await member.run(...three, "get", "/a")).toEqual({ code: 0, text: "/a\n1\n" });
    const two = [
      "env",
      "ETCDCTL_API=2",
      "etcdctl",
      endpoint,
      "--ca-file=ca.pem",
      "--cert-file=client.pem",
      "--key-file=client-key.pem",
    ];
    expect(await member.run(...two, "set", "/b", "2")).toEqual({ code: 0, text: "2\n" });
    expect(await member.run(...two, "get", "/b")).toEqual({ code: 0, text: "2\n" });
  });

  test("serves curl, by address and by name, and its own JSON gateway, which comes as a client with the server's certificate", async () => {
    for (const host of ["127.0.0.1", "localhost"])
      expect((await curl(host, "ca", ...as("client"))).text).toContain("3.4");
    const range = `https://127.0.0.1:${member.port}/v3/kv/range`;
    const { text } = await member.run(
      "curl",
      "-sS",
      "--cacert",
      "ca.pem",
      ...as("client"),
      "-d",
      '{"key":"L2E="}',
      range,
    );
    expect(text).toContain("cluster_id");
  });

  test("serves this runtime", async () => {
    const file = (name: string) => readFileSync(join(member.directory, name), "utf8");
    const tls = { ca: file("ca.pem"), cert: file("client.pem"), key: file("client-key.pem") };
    const status = await new Promise((resolve, reject) => {
      const asked = request({ host: "127.0.0.1", port: member.port, path: "/version", ...tls }, (answer) => {
        answer.resume().once("end", () => resolve(answer.statusCode));
      });
      asked.once("error", reject).end();
    });
    expect(status).toBe(200);
    const answer = await fetch(`https://localhost:${member.port}/version`, { tls });
    expect(await answer.text()).toContain("3.4");
  });

  test("serves a certificate that was renewed, without a restart", async () => {
    const path = (name: string) => join(member.directory, name);
    const served = async () => {
      const { text } = await member.run("sh", "-c", `openssl s_client -connect 127.0.0.1:${member.port} </dev/null`);
      return new X509Certificate(text.slice(text.indexOf("-----BEGIN"))).serialNumber;
    };
    const before = await served();
    const flags = { ca: path("ca.pem"), days: 2, newKey: true, json: false };
    expect(await renew([path("server")], flags, session, new Date(), new AbortController().signal)).toBe(0);
    expect(await served()).not.toBe(before);
    expect(await served()).toBe(new X509Certificate(readFileSync(path("server.pem"))).serialNumber);
    expect((await curl("127.0.0.1", "ca", ...as("client"))).code).toBe(0);
  });

  // etcd's log says why; a client of TLS 1.3 may see no more than the connection's end.
  test.each([
    ["of another authority", as("foreign"), "certificate signed by unknown authority"],
    ["that has ended", as("ended"), "certificate has expired"],
    ["of a server", as("serving"), "incompatible key usage"],
    ["that is missing", [], "client didn't provide a certificate"],
  ])("refuses a client's certificate %s", async (_, files, reason) => {
    const before = member.log().length;
    expect((await curl("127.0.0.1", "ca", ...files)).code).not.toBe(0);
    const deadline = performance.now() + 5000;
    while (!member.log().slice(before).includes(reason) && performance.now() < deadline) await Bun.sleep(10);
    expect(member.log().slice(before)).toContain(reason);
  });

  test.each([
    ["whose authority is another", "127.0.0.1", "other"],
    ["that has not this address", "127.0.0.2", "ca"],
  ])("is refused as a server %s", async (_, host, ca) => {
    // 60: the server's certificate was not verified.
    expect((await curl(host, ca, ...as("client"))).code).toBe(60);
  });
});
