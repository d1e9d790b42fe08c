import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readKubeconfig } from "./kubeconfig.ts";

const directory = mkdtempSync(join(tmpdir(), "flannel-kubeconfig-"));
const path = join(directory, "config");
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const NEVER = new AbortController().signal;
const PEM = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
const base64 = (text: string) => Buffer.from(text).toString("base64");

interface Parts {
  readonly cluster?: object;
  readonly user?: object;
  readonly context?: object;
  readonly more?: object;
}

function config({ cluster = {}, user = {}, context = {}, more = {} }: Parts = {}) {
  return {
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "k", user: "u", ...context } }],
    clusters: [{ name: "k", cluster: { server: "https://192.0.2.1:6443/", ...cluster } }],
    users: [{ name: "u", user }],
    ...more,
  };
}

function read(given: object | string, environment = {}) {
  writeFileSync(path, typeof given === "string" ? given : JSON.stringify(given));
  return readKubeconfig(path, environment);
}

test("YAML as kubeadm writes it", async () => {
  const access = read(`apiVersion: v1
kind: Config
preferences: {}
clusters:
- cluster:
    certificate-authority-data: ${base64(PEM)}
    server: https://192.0.2.1:6443
  name: kubernetes
contexts:
- context: {cluster: kubernetes, user: system:node:a}
  name: system:node:a@kubernetes
current-context: system:node:a@kubernetes
users:
- name: system:node:a
  user:
    token: abc
`);
  expect(access.server).toBe("https://192.0.2.1:6443");
  expect(access.source).toBe(`${path}, context system:node:a@kubernetes`);
  expect(access.tls.ca?.()).toBe(PEM);
  expect(await access.credentials.current(NEVER)).toEqual({ token: "abc" });
});

describe("users", () => {
  writeFileSync(join(directory, "cert.pem"), PEM);
  writeFileSync(join(directory, "key.pem"), "key");
  writeFileSync(join(directory, "token"), "from a file\n");
  const rows: [string, object, object][] = [
    ["nobody", {}, {}],
    ["a token", { token: "t" }, { token: "t" }],
    [
      "a token's file, relative to the kubeconfig, before a token",
      { tokenFile: "token", token: "t" },
      { token: "from a file" },
    ],
    ["name and password", { username: "a", password: "b" }, { username: "a", password: "b" }],
    [
      "certificate files",
      { "client-certificate": "cert.pem", "client-key": "key.pem" },
      { certificate: PEM, key: "key" },
    ],
    [
      "certificate data",
      { "client-certificate-data": base64(PEM), "client-key-data": base64(`${PEM}k`) },
      { certificate: PEM, key: `${PEM}k` },
    ],
    [
      "certificate and token",
      { "client-certificate": "cert.pem", "client-key": "key.pem", token: "t" },
      { certificate: PEM, key: "key", token: "t" },
    ],
  ];
  test.each(rows)("%s", async (_title, user, wanted) => {
    expect(await read(config({ user })).credentials.current(NEVER)).toEqual(wanted);
  });
});

test("clusters: a proxy of its own goes before the environment's; TLS by another name, or unchecked", () => {
  const environment = { HTTPS_PROXY: "http://other:1" };
  const access = read(config({ cluster: { "proxy-url": "http://p:2", "tls-server-name": "api" } }), environment);
  expect([access.proxy, access.tls.serverName, access.tls.insecure]).toEqual(["http://p:2", "api", false]);
  expect(read(config(), environment).proxy).toBe("http://other:1");
  expect(read(config({ cluster: { "insecure-skip-tls-verify": true } })).tls.insecure).toBe(true);
});

const faults: [string, object | string, readonly string[]][] = [
  ["no YAML", "a: [", ["no YAML"]],
  ["a list", "[]", ["want a kubeconfig"]],
  ["no current context", config({ more: { "current-context": "" } }), ["current-context"]],
  [
    "an unknown context",
    config({ more: { "current-context": "x" } }),
    ['current-context: got "x", want one of its contexts: c'],
  ],
  [
    "an unknown cluster",
    config({ context: { cluster: "x" } }),
    ['context c: cluster: got "x", want one of its clusters: k'],
  ],
  ["an unknown user", config({ context: { user: "x" } }), ['context c: user: got "x", want one of its users: u']],
  [
    "a server that is no URL",
    config({ cluster: { server: "192.0.2.1:6443" } }),
    ["want a URL such as https://192.0.2.1:6443"],
  ],
  [
    "a certificate without a key",
    config({ user: { "client-certificate": "cert.pem" } }),
    ["got it without client-key"],
  ],
  ["no PEM", config({ cluster: { "certificate-authority-data": "eA==" } }), ["want a PEM text in base64"]],
  ["an auth-provider", config({ user: { "auth-provider": { name: "gcp" } } }), ["removed auth-provider"]],
  ["impersonation", config({ user: { token: "t", as: "admin" } }), ['user.as: got "admin"']],
  ["an exec plugin without a program", config({ user: { exec: {} } }), ["exec.apiVersion", "exec.command"]],
  [
    "a plugin that asks a person",
    config({
      user: { exec: { apiVersion: "client.authentication.k8s.io/v1", command: "x", interactiveMode: "Always" } },
    }),
    ["a program that asks nobody"],
  ],
  [
    "several at once",
    config({ context: { user: "x" }, cluster: { server: "nope", "certificate-authority-data": "eA==" } }),
    ['got "x"', "want a URL", "want a PEM"],
  ],
];
test.each(faults)("told: %s", (_title, given, parts) => {
  let message = "";
  try {
    read(given);
  } catch (error) {
    message = String(error);
  }
  for (const part of parts) expect(message).toContain(part);
});

test("a missing file is named", () => {
  expect(() => readKubeconfig("/nowhere/config", {})).toThrow("cannot read /nowhere/config: ENOENT");
});
