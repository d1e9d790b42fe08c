// flannelctl certs against cfssl itself (Debian's golang-cfssl): from the same requests and the same signing configuration both make the same certificates,
// and each signs with the authority that the other made. OpenSSL is the judge, which made neither.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { issue, makeCa } from "../../src/ctl/certs/make.ts";
import type { Outputs } from "../../src/ctl/session.ts";

const NAMES = [{ C: "JP", ST: "Tokyo", L: "Chuo-ku", O: "k8s & co", OU: "ops" }, { O: "é" }];
const CONFIG = {
  signing: {
    default: { expiry: "87600h" },
    profiles: {
      kubernetes: { usages: ["signing", "key encipherment", "server auth", "client auth"], expiry: "17520h" },
      signer: { usages: ["digital signature", "content committment", "code signing", "timestamping"], expiry: "1h" },
    },
  },
};
const HOSTS = ["127.0.0.1", "fd00::1", "etcd.example", "*.etcd.example", "ops@example.org"];
const KEYS = [
  { algo: "rsa", size: 2048 },
  { algo: "rsa", size: 4096 },
  { algo: "ecdsa", size: 256 },
  { algo: "ecdsa", size: 384 },
  { algo: "ecdsa", size: 521 },
] as const;

const quiet = { live: false, colours: false, columns: 80, rows: 24, write: () => {} };
const session: Outputs = { out: quiet, err: quiet };
const options = { force: false, keepCsr: true, json: false };
const { signal } = new AbortController();

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "cfssl-"));
  await Bun.write(join(directory, "config.json"), JSON.stringify(CONFIG));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function run(...command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], { cwd: directory, stdout: "pipe", stderr: "pipe" });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code !== 0) throw new Error(`${command.join(" ")}: exit code ${code}\n${out}${err}`);
  return out;
}

/** As the guides pipe it. */
const cfssl = (name: string, ...args: readonly string[]) =>
  run("sh", "-ec", 'name=$1; shift; cfssl gencert "$@" | cfssljson -bare "$name"', "sh", name, ...args);

/** What has to be equal, as OpenSSL reads it; names of one certificate in any order, since cfssl sorts them by kind. */
async function readByOpenssl(name: string): Promise<unknown> {
  const text = await run(
    "openssl",
    "x509",
    "-in",
    `${name}.pem`,
    "-noout",
    "-text",
    "-nameopt",
    "RFC2253,-esc_msb,utf8,show_type",
  );
  const line = (pattern: RegExp) => pattern.exec(text)?.[1]?.trim();
  const time = (which: string) => Date.parse(line(new RegExp(`Not ${which} ?: (.*)`)) ?? "");
  return {
    version: line(/Version: (.*)/),
    subject: line(/Subject: (.*)/),
    issuer: line(/Issuer: (.*)/),
    lifeMs: time("After") - time("Before"),
    signature: line(/Signature Algorithm: (.*)/),
    key: line(/Public-Key: (.*)/),
    algorithm: line(/Public Key Algorithm: (.*)/),
    usage: line(/X509v3 Key Usage: (critical\s+.*)/),
    purposes: line(/X509v3 Extended Key Usage: *(\s+.*)/),
    constraints: line(/X509v3 Basic Constraints: (critical\s+.*)/),
    hosts: line(/X509v3 Subject Alternative Name: *\n(.*)/)
      ?.split(", ")
      .sort(),
    identifiers: [...text.matchAll(/X509v3 (Subject|Authority) Key Identifier/g)].map(([, which]) => which),
    pem: readFileSync(join(directory, `${name}-key.pem`), "utf8").split("\n")[0],
  };
}

describe.each(KEYS)("a request with the key $algo $size", (key) => {
  const at = (name: string) => join(directory, `${key.algo}-${key.size}-${name}`);
  const named = (name: string) => `${key.algo}-${key.size}-${name}`;

  test("makes the same authority and the same certificates, which either signs", async () => {
    await Bun.write(
      at("ca.json"),
      JSON.stringify({ CN: "ca", key, names: NAMES, ca: { expiry: "87600h", pathlen: 2 } }),
    );
    await cfssl(named("theirs"), "-initca", named("ca.json"));
    await makeCa({ ...options, csr: at("ca.json"), out: at("ours") }, session, new Date(), signal);
    expect(await readByOpenssl(named("ours"))).toEqual(await readByOpenssl(named("theirs")));

    await Bun.write(at("etcd.json"), JSON.stringify({ CN: "etcd", hosts: HOSTS, key, names: NAMES }));
    for (const [profile, authority] of [
      ["kubernetes", "ours"],
      ["signer", "theirs"],
    ] as const) {
      const [theirs, ours] = [named(`${profile}-theirs`), named(`${profile}-ours`)];
      const ca = [`-ca=${named(authority)}.pem`, `-ca-key=${named(authority)}-key.pem`];
      await cfssl(theirs, ...ca, "-config=config.json", `-profile=${profile}`, named("etcd.json"));
      const flags = { csr: at("etcd.json"), config: join(directory, "config.json"), profile };
      await issue(
        { ...options, ...flags, ca: at(`${authority}.pem`), out: join(directory, ours) },
        session,
        new Date(),
        signal,
      );
      expect(await readByOpenssl(ours)).toEqual(await readByOpenssl(theirs));
      for (const one of [ours, theirs]) {
        expect(
          await run("openssl", "verify", "-x509_strict", "-CAfile", `${named(authority)}.pem`, `${one}.pem`),
        ).toEndWith(": OK\n");
      }
      const requests = await Promise.all(
        [ours, theirs].map(async (one) => {
          const text = await run(
            "openssl",
            "req",
            "-in",
            `${one}.csr`,
            "-noout",
            "-verify",
            "-text",
            "-nameopt",
            "RFC2253",
          );
          return [/Subject: .*/.exec(text)?.[0], /Signature Algorithm: .*/.exec(text)?.[0]];
        }),
      );
      expect(requests[0]).toEqual(requests[1]);
    }
  });
});
