// TLS with the v2 API of a real etcd. The causes are told by connection_error.ts, which tls.test.ts goes through one by one;
// here is that v2's requests and watches are verified as well, and that a certificate renewed is used.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { Etcd2Registry } from "../../src/subnet/etcd/registry2.ts";
import { collect } from "../store/registry_contract.ts";
import type { Answer } from "./ask.ts";
import { CertificateDirectory } from "./certificates.ts";
import { EtcdMember } from "./cluster.ts";
import { etcdOptions } from "./options.ts";

const address = `127.98.${process.pid % 250}.1`;
const url = `https://${address}:2379`;
/** Where localhost leads: no name of the certificate. */
const port = `${40_000 + (process.pid % 20_000)}`;
const { signal } = new AbortController();

let certificates: CertificateDirectory;
let member: EtcdMember;

beforeAll(async () => {
  certificates = new CertificateDirectory();
  const ca = await certificates.authority("etcd-ca");
  await certificates.authority("other-ca");
  const server = await certificates.issue("etcd-ca", "etcd", { hosts: [address] });
  await certificates.issue("etcd-ca", "flanneld", { usages: ["client auth"] });
  await certificates.issue("other-ca", "stranger", { usages: ["client auth"] });
  const peer = `http://${address}:2380`;
  member = new EtcdMember(
    "m1",
    address,
    url,
    [
      ...["etcd", "--name", "m1", "--initial-cluster", `m1=${peer}`, "--log-level", "error", "--logger", "zap"],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--unsafe-no-fsync", "--enable-v2"],
      ...["--listen-client-urls", `${url},https://127.0.0.1:${port}`],
      ...["--advertise-client-urls", url, "--cert-file", server.certFile, "--key-file", server.keyFile],
      ...["--client-cert-auth", "--trusted-ca-file", ca],
    ],
    certificates.path,
  );
  member.start();
  using registry = open("flanneld");
  for (const end = performance.now() + 20_000; ; ) {
    try {
      await registry.config(signal);
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
      await Bun.sleep(25);
    }
  }
}, 30_000);

afterAll(async () => {
  await member?.stop();
  certificates?.[Symbol.dispose]();
});

function open(client: string): Etcd2Registry {
  return new Etcd2Registry(etcdOptions([url], { tls: certificates.tls("etcd-ca", client) }));
}

test("requests and watches, and a client certificate that is renewed", async () => {
  using registry = open("flanneld");
  const { revision } = await registry.entries(signal);
  const stop = new AbortController();
  const seen = collect(registry.watch(revision, stop.signal));
  // What was renewed by an authority that etcd does not know is used for the next connection, and refused there.
  await registry.create("10.5.1.0-24", "{}", 60_000, signal);
  await seen.until((changes) => changes.length > 0);
  stop.abort();
  await certificates.issue("other-ca", "flanneld", { usages: ["client auth"] });
  using late = open("flanneld");
  await expect(late.entries(signal)).rejects.toMatchObject({ reason: "denied" });
  await certificates.issue("etcd-ca", "flanneld", { usages: ["client auth"] });
  expect((await late.entries(signal)).entries).toHaveLength(1);
});

test("what is wrong is refused, whatever the environment says about certificates", async () => {
  const cases = [
    [url, "etcd-ca", "flanneld", "none", ""],
    [url, "other-ca", "flanneld", "invalid", "issuer CN=etcd-ca is not in"],
    [url, "etcd-ca", undefined, "denied", "give --etcd-certfile and --etcd-keyfile"],
    [url, "etcd-ca", "stranger", "denied", "the server refuses client certificate"],
    [
      url.replace(address, "localhost").replace("2379", port),
      "etcd-ca",
      "flanneld",
      "invalid",
      "localhost was asked for",
    ],
    [url.replace("https:", "http:"), "etcd-ca", "flanneld", "invalid", "speaks TLS, not plain HTTP; give https://"],
  ] as const;
  const asked = cases.map(([endpoint, ca, client]) => etcdOptions([endpoint], { tls: certificates.tls(ca, client) }));
  for (const environment of [{}, { NODE_TLS_REJECT_UNAUTHORIZED: "0" }]) {
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "ask.ts"), JSON.stringify(asked), "2"], {
      env: { ...process.env, ...environment },
      stderr: "pipe",
    });
    const answers = JSON.parse(await new Response(child.stdout).text()) as Answer[];
    expect(answers.map(({ reason }) => reason)).toEqual(cases.map(([, , , reason]) => reason));
    for (const [i, [, , , , says]] of cases.entries()) expect(answers[i]?.message).toContain(says);
  }
}, 30_000);
