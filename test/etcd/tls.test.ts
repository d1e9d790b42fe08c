// TLS with a real etcd: what is right is taken, and what is wrong is refused with a message of its own, whatever the
// environment says about certificates. Verified are DNS names and addresses alike.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, renameSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { EtcdTls } from "../../src/subnet/etcd/options.ts";
import { Etcd3Registry } from "../../src/subnet/etcd/registry3.ts";
import type { Answer } from "./ask.ts";
import { CertificateDirectory, type Pair } from "./certificates.ts";
import { EtcdMember } from "./cluster.ts";
import { failureOf } from "./failure.ts";
import { etcdOptions } from "./options.ts";

const block = `127.99.${process.pid % 250}`;
const signal = new AbortController().signal;
const members: EtcdMember[] = [];
let certificates: CertificateDirectory;

/** A cluster of one that has this certificate, whether it is fit or not. */
async function server(at: number, pair: Pair | undefined, clientCaFile?: string, also: string[] = []): Promise<string> {
  const address = `${block}.${at}`;
  const url = `http${pair ? "s" : ""}://${address}:2379`;
  const peer = `http://${address}:2380`;
  const member = new EtcdMember(
    `m${at}`,
    address,
    url,
    [
      ...["etcd", "--name", `m${at}`, "--initial-cluster", `m${at}=${peer}`, "--log-level", "error", "--logger", "zap"],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--unsafe-no-fsync"],
      ...["--listen-client-urls", [url, ...also].join(","), "--advertise-client-urls", url],
      ...(pair ? ["--cert-file", pair.certFile, "--key-file", pair.keyFile] : []),
      ...(clientCaFile ? ["--client-cert-auth", "--trusted-ca-file", clientCaFile] : []),
    ],
    certificates.path,
  );
  members.push(member);
  member.start();
  const end = performance.now() + 20_000;
  while (!(await answers(address))) {
    if (performance.now() > end) throw new Error(`etcd does not start: ${member.log}`);
    await Bun.sleep(25);
  }
  return url;
}

/** An address of this host, with a port that is free. */
function local(hostname = "127.0.0.1"): string {
  using listener = Bun.listen({ hostname, port: 0, socket: { data() {} } });
  return `https://${hostname.includes(":") ? `[${hostname}]` : hostname}:${listener.port}`;
}

function answers(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: 2379 }, () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}

let good: string;
/** The same servers, by a name. */
let goodByName: string;
let wrongByName: string;
let goodByIpv6: string;
let wrongName: string;
let expired: string;
let plain: string;
let early: string;
let http1: { readonly url: string; stop(): void };

beforeAll(async () => {
  certificates = new CertificateDirectory();
  const ca = await certificates.authority("etcd-ca");
  await certificates.authority("other-ca");
  await certificates.authority("same-name-ca", "etcd-ca");
  const here = [`${block}.1`, "localhost", "::1"];
  await certificates.issue("etcd-ca", "flanneld", { usages: ["client auth"] });
  await certificates.issue("other-ca", "stranger", { usages: ["client auth"] });
  await certificates.issue("etcd-ca", "late", { usages: ["client auth"], from: -2, to: -1 });
  await certificates.issue("etcd-ca", "serving", { usages: ["server auth"] });
  const named = await certificates.issue("etcd-ca", "etcd", { hosts: here });
  const other = await certificates.issue("etcd-ca", "elsewhere", { hosts: ["192.0.2.1", "etcd.example"] });
  const old = await certificates.issue("etcd-ca", "old", { hosts: [`${block}.3`], from: -2, to: -1 });
  const young = await certificates.issue("etcd-ca", "young", { hosts: [`${block}.5`], from: 1, to: 2 });
  const [first, second] = [local(), local()];
  goodByIpv6 = local("::1");
  goodByName = first.replace("127.0.0.1", "localhost");
  wrongByName = second.replace("127.0.0.1", "localhost");
  [good, wrongName, expired, plain, early] = await Promise.all([
    server(1, named, ca, [first, goodByIpv6]),
    server(2, other, ca, [second]),
    server(3, old, ca),
    server(4, undefined),
    server(5, young, ca),
  ]);
  const listener = Bun.serve({ hostname: `${block}.6`, port: 0, fetch: () => new Response("hello") });
  http1 = { url: `http://${block}.6:${listener.port}`, stop: () => void listener.stop(true) };
}, 60_000);

afterAll(async () => {
  http1?.stop();
  await Promise.all(members.map((member) => member.stop()));
  certificates?.[Symbol.dispose]();
});

interface Case {
  readonly title: string;
  readonly endpoint: () => string;
  readonly tls: () => EtcdTls;
  readonly reason: string;
  readonly says: readonly string[];
}

const cases: readonly Case[] = [
  {
    title: "authority and client certificate",
    endpoint: () => good,
    tls: () => certificates.tls("etcd-ca", "flanneld"),
    reason: "none",
    says: [],
  },
  {
    title: "the same, by name",
    endpoint: () => goodByName,
    tls: () => certificates.tls("etcd-ca", "flanneld"),
    reason: "none",
    says: [],
  },
  {
    title: "the same, by IPv6 address",
    endpoint: () => goodByIpv6,
    tls: () => certificates.tls("etcd-ca", "flanneld"),
    reason: "none",
    says: [],
  },
  {
    title: "wrong authority",
    endpoint: () => good,
    tls: () => certificates.tls("other-ca", "flanneld"),
    reason: "invalid",
    says: [
      "this side refuses",
      "issuer CN=etcd-ca is not in",
      "other-ca.pem (which holds CN=other-ca)",
      "--etcd-cafile",
    ],
  },
  {
    title: "another authority of the same name",
    endpoint: () => good,
    tls: () => certificates.tls("same-name-ca", "flanneld"),
    reason: "invalid",
    says: ["this side refuses", "which holds CN=etcd-ca, another one of that name"],
  },
  {
    title: "no authority given",
    endpoint: () => good,
    tls: () => certificates.tls("", "flanneld"),
    reason: "invalid",
    says: ["this side refuses", "none of the system's authorities; give --etcd-cafile"],
  },
  {
    title: "address that the certificate does not have",
    endpoint: () => wrongName,
    tls: () => certificates.tls("etcd-ca", "flanneld"),
    reason: "invalid",
    says: ["this side refuses", "CN=elsewhere", "192.0.2.1", "DNS:etcd.example", `and ${block}.2 was asked for`],
  },
  {
    title: "name that the certificate does not have",
    endpoint: () => wrongByName,
    tls: () => certificates.tls("etcd-ca", "flanneld"),
    reason: "invalid",
    says: ["this side refuses", "CN=elsewhere", "DNS:etcd.example", "and localhost was asked for"],
  },
  {
    title: "server certificate that expired",
    endpoint: () => expired,
    tls: () => certificates.tls("etcd-ca", "flanneld"),
    reason: "invalid",
    says: ["this side refuses", "CN=old", "it expired on 20", "this host's clock says 20"],
  },
  {
    title: "server certificate of the future",
    endpoint: () => early,
    tls: () => certificates.tls("etcd-ca", "flanneld"),
    reason: "invalid",
    says: ["this side refuses", "CN=young", "it is not valid yet before 20"],
  },
  {
    title: "no client certificate",
    endpoint: () => good,
    tls: () => certificates.tls("etcd-ca"),
    reason: "denied",
    says: ["the server refuses this client", "--etcd-certfile and --etcd-keyfile"],
  },
  {
    title: "client certificate of another authority",
    endpoint: () => good,
    tls: () => certificates.tls("etcd-ca", "stranger"),
    reason: "denied",
    says: [
      "the server refuses client certificate",
      "stranger.pem",
      "--trusted-ca-file must hold its issuer CN=other-ca",
    ],
  },
  {
    title: "client certificate that expired",
    endpoint: () => good,
    tls: () => certificates.tls("etcd-ca", "late"),
    reason: "denied",
    says: ["client certificate", "late.pem expired on 20"],
  },
  {
    title: "client certificate that is for servers",
    endpoint: () => good,
    tls: () => certificates.tls("etcd-ca", "serving"),
    reason: "denied",
    says: ["serving.pem", "not for client authentication"],
  },
  {
    title: "plain HTTP to a TLS port",
    endpoint: () => good.replace("https:", "http:"),
    tls: () => certificates.tls("etcd-ca", "flanneld"),
    reason: "invalid",
    says: ["the server speaks TLS, not plain HTTP", "give https://"],
  },
  {
    title: "TLS to a plain port",
    endpoint: () => plain.replace("http:", "https:"),
    tls: () => certificates.tls("etcd-ca", "flanneld"),
    reason: "invalid",
    says: ["the server speaks plain HTTP", "not TLS", "give http://"],
  },
  {
    title: "a web server",
    endpoint: () => http1.url,
    tls: () => certificates.tls(""),
    reason: "invalid",
    says: ["HTTP/1.1", "does not speak gRPC", "no etcd v3"],
  },
  {
    title: "nobody there",
    endpoint: () => `http://${block}.7:2379`,
    tls: () => certificates.tls(""),
    reason: "unreachable",
    says: ["ECONNREFUSED", "connection refused"],
  },
  {
    title: "a name that does not exist",
    endpoint: () => "https://etcd.invalid:2379",
    tls: () => certificates.tls("etcd-ca", "flanneld"),
    reason: "unreachable",
    says: ["host name etcd.invalid does not resolve"],
  },
];

async function ask(environment: Readonly<Record<string, string>>): Promise<readonly Answer[]> {
  const timing = { connectMs: 2_000, requestMs: 5_000, pingMs: 5_000, pongMs: 3_500 };
  const asked = cases.map(({ endpoint, tls }) => etcdOptions([endpoint()], { tls: tls(), timing }));
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "ask.ts"), JSON.stringify(asked)], {
    env: { ...process.env, ...environment },
    stderr: "pipe",
  });
  const output = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  return JSON.parse(output) as Answer[];
}

describe.each([
  ["as usual", {}],
  ["with NODE_TLS_REJECT_UNAUTHORIZED=0", { NODE_TLS_REJECT_UNAUTHORIZED: "0" }],
] as const)("connecting %s", (_title, environment) => {
  let answered: readonly Answer[];
  beforeAll(async () => {
    answered = await ask(environment);
  }, 60_000);

  test.each(cases.map(({ title }, i) => [title, i] as const))("%s", (_title, i) => {
    const { reason, says } = cases[i] ?? { reason: "", says: [] };
    const { message, reason: got } = answered[i] ?? { message: "", reason: "" };
    expect([got, message]).toEqual([reason, message]);
    for (const part of says) expect(message).toContain(part);
  });

  test("no two faults have the same message", () => {
    const messages = answered.filter(({ reason }) => reason !== "none").map(({ message }) => message);
    expect(new Set(messages).size).toBe(messages.length);
  });
});

test("a certificate that is renewed is used for the next connection, one that is half written is not", async () => {
  const use = await certificates.issue("other-ca", "renewed", { usages: ["client auth"] });
  await certificates.issue("etcd-ca", "next", { usages: ["client auth"] });
  using registry = new Etcd3Registry(etcdOptions([good], { tls: certificates.tls("etcd-ca", "renewed") }));
  expect(await failureOf(registry.config(signal))).toMatchObject({ reason: "denied" });
  copyFileSync(certificates.file("next"), use.certFile);
  // The key is still that of before: the pair of before is shown.
  expect(await failureOf(registry.config(signal))).toMatchObject({ message: expect.stringContaining("CN=other-ca") });
  renameSync(certificates.file("next-key"), use.keyFile);
  expect((await registry.config(signal)).text).toBeUndefined();
});

test.each([
  [
    "missing",
    (tls: EtcdTls) => ({ ...tls, caFile: "/nonexistent/ca.pem" }),
    "/nonexistent/ca.pem of --etcd-cafile: ENOENT",
  ],
  [
    "no PEM",
    (tls: EtcdTls) => ({ ...tls, certFile: tls.keyFile }),
    'of --etcd-certfile: it holds no "BEGIN CERTIFICATE"',
  ],
  [
    "another key",
    (tls: EtcdTls) => ({ ...tls, keyFile: certificates.file("etcd-key") }),
    "of --etcd-keyfile: it is not the key of",
  ],
  ["certificate alone", (tls: EtcdTls) => ({ ...tls, keyFile: "" }), "of --etcd-certfile: --etcd-keyfile is missing"],
  ["key alone", (tls: EtcdTls) => ({ ...tls, certFile: "" }), "of --etcd-keyfile: --etcd-certfile is missing"],
])("a PEM file that cannot be used is named with its flag: %s", async (_title, change, message) => {
  const tls = change(certificates.tls("etcd-ca", "flanneld"));
  using registry = new Etcd3Registry(etcdOptions([good], { tls }));
  expect(await failureOf(registry.config(signal))).toMatchObject({ message: expect.stringContaining(message) });
});
