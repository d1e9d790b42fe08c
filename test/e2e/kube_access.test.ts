// How flanneld comes to the API server, and who it is there: every kind of credentials, renewed while it runs; a pod's own account; a proxy.

import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { madeNode } from "../kubernetes/made_nodes.ts";
import { becomes } from "./becomes.ts";
import { type KubernetesUnderlay, Underlay } from "./nodes.ts";
import { until } from "./program.ts";

const TEST_MS = 60_000;
const PROXY = join(import.meta.dir, "../kubernetes/connect_proxy.ts");

async function open(kubernetes: KubernetesUnderlay = {}) {
  const underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], kubernetes });
  return { underlay, node: underlay.node(1), kube: underlay.kube.cluster };
}

test.each(["token", "certificate", "exec"] as const)("by %s", async (user) => {
  const { underlay, node, kube } = await open({ user });
  await using _ = underlay;
  await kube.create(madeNode(150));
  await node.flanneld().peers(1);
  await becomes(async () => (await kube.condition("node1"))?.status, "False");
  await Bun.sleep(500);
  expect(new Set((await kube.asked()).map(({ user: name }) => name))).toEqual(new Set(["flannel"]));
  await Bun.sleep(1_000);
  expect(await kube.asked()).toEqual([]); // at rest nothing is asked
});

test("says who it is, in words that logs of the server can be searched for", async () => {
  const { underlay, node, kube } = await open();
  await using _ = underlay;
  await node.flanneld().ready();
  for (const { userAgent } of await kube.asked()) expect(userAgent).toMatch(/^flanneld\/\S+ \(linux\/(amd64|arm64)\)$/);
});

test(
  "an expired token of an exec plugin: the program is asked for another, once, and the watch lives on",
  async () => {
    const { underlay, node, kube } = await open({ user: "exec" });
    await using _ = underlay;
    const flanneld = await node.flanneld().ready();
    expect(kube.credentialRuns).toBe(1);
    writeFileSync(kube.credentialFile, "second-token");
    await kube.fate("tokens", { "second-token": "flannel" });
    await kube.fate("endWatches", {});
    await kube.create(madeNode(150));
    await flanneld.peers(1);
    expect(kube.credentialRuns).toBe(2);
    expect(flanneld.lines(/^[EW]/)).toEqual([]);
  },
  TEST_MS,
);

test(
  "an expired token without another: told, and what stands stays; a program that gives one again ends it",
  async () => {
    const { underlay, node, kube } = await open({ user: "exec" });
    await using _ = underlay;
    await kube.create(madeNode(150));
    const flanneld = await node.flanneld().peers(1);
    const before = node.objects();
    await kube.fate("tokens", {});
    await kube.fate("endWatches", {});
    await flanneld.says(
      /answers 401 to GET \/api\/v1\/nodes: Unauthorized; check the credentials in .*exec\.kubeconfig/,
    );
    expect(node.objects()).toEqual(before);
    writeFileSync(kube.credentialFile, "second-token");
    await kube.fate("tokens", { "second-token": "flannel" });
    await kube.create(madeNode(151));
    await flanneld.peers(2);
    expect(flanneld.output).not.toMatch(/second-token|flannel-token/);
  },
  TEST_MS,
);

test(
  "in a pod: its service account, whose token is renewed in its file while it runs",
  async () => {
    const { underlay, node, kube } = await open();
    await using _ = underlay;
    const account = join(underlay.directory, "account");
    mkdirSync(account);
    copyFileSync(kube.certificates.file("ca"), join(account, "ca.crt"));
    writeFileSync(join(account, "token"), "flannel-token");
    // The place where kubelet mounts it, in a mount namespace of its own.
    const place = "/var/run/secrets/kubernetes.io";
    const script = `mount -t tmpfs tmpfs /var/run; mkdir -p ${place}; ln -s ${account} ${place}/serviceaccount; exec "$@"`;
    const under = ["unshare", "--mount", "sh", "-ec", script, "sh"];
    const environment = { KUBERNETES_SERVICE_HOST: "192.168.77.201", KUBERNETES_SERVICE_PORT: "6443" };
    const flags = ["--kubeconfig-file="];
    const flanneld = await node.flanneld({ flags, under, environment }).ready();
    writeFileSync(join(account, "token"), "renewed-token\n");
    await kube.fate("tokens", { "renewed-token": "flannel" });
    await kube.fate("endWatches", {});
    await kube.create(madeNode(150));
    await flanneld.peers(1);
    expect(flanneld.lines(/^[EW]/)).toEqual([]);
  },
  TEST_MS,
);

const proxies: [string, "environment" | "kubeconfig"][] = [
  ["the environment", "environment"],
  ["the kubeconfig, which goes before the environment", "kubeconfig"],
];
test.each(proxies)(
  "through a proxy named by %s; its end is an outage that heals",
  async (_title, by) => {
    const { underlay, node, kube } = await open();
    await using _ = underlay;
    const start = () => node.spawn([process.execPath, PROXY, "127.0.0.1", "3128", "user:secret"]);
    node.run("ip link set lo up");
    const proxy = start();
    await proxy.says(/listening/);
    const url = "http://user:secret@127.0.0.1:3128";
    const file = kube.kubeconfig("token", {
      name: "proxied",
      cluster: by === "kubeconfig" ? { "proxy-url": url } : {},
    });
    const environment = { HTTPS_PROXY: by === "environment" ? url : "http://127.0.0.1:1" };
    const flanneld = await node.flanneld({ flags: [`--kubeconfig-file=${file}`], environment }).ready();
    expect(proxy.lines(/^tunnel 192\.168\.77\.201:6443$/)).toHaveLength(1); // one connection for everything
    await proxy.stop("SIGKILL");
    await flanneld.says(/cannot (use|reach) the API server at https:\/\/192\.168\.77\.201:6443/);
    await kube.create(madeNode(150));
    start();
    await flanneld.peers(1);
    expect(flanneld.output).not.toContain("secret");
  },
  TEST_MS,
);

test("a proxy that refuses is told with what it answered", async () => {
  const { underlay, node } = await open();
  await using _ = underlay;
  node.run("ip link set lo up");
  await node.spawn([process.execPath, PROXY, "127.0.0.1", "3128", "user:secret"]).says(/listening/);
  const flanneld = node.flanneld({ environment: { HTTPS_PROXY: "http://127.0.0.1:3128" } });
  await flanneld.says(
    /through proxy http:\/\/127\.0\.0\.1:3128.*the proxy answered "HTTP\/1\.1 407 Proxy Authentication Required"/,
  );
});

const strangers: [string, (file: string) => object, RegExp][] = [
  [
    "another authority",
    (file) => ({ "certificate-authority-data": readFileSync(file).toString("base64") }),
    /this side refuses its certificate: .*check the certificate authority in .*kubeconfig/,
  ],
  ["another name", () => ({ "tls-server-name": "other.example" }), /its certificate is not for other\.example/],
];
test.each(strangers)("a server with a certificate of %s is not talked to", async (_title, cluster, reason) => {
  const { underlay, node, kube } = await open();
  await using _ = underlay;
  const changed = cluster(await kube.certificates.authority("stranger"));
  const file = kube.kubeconfig("token", { name: "strange", cluster: changed });
  const flanneld = node.flanneld({ flags: [`--kubeconfig-file=${file}`] });
  await flanneld.says(reason);
  expect(await kube.asked()).toEqual([]);
  expect(flanneld.output).not.toContain("flannel-token");
});

test("a client certificate that the server does not know makes flanneld nobody, which is told", async () => {
  const { underlay, node, kube } = await open({ user: "certificate" });
  await using _ = underlay;
  await kube.certificates.authority("clients");
  await kube.certificates.issue("clients", "flannel"); // in the place of the one that was known
  const flanneld = node.flanneld();
  await flanneld.says(
    /answers 403 to GET \/api\/v1\/nodes\/node1: .*User "system:anonymous" cannot get resource "nodes".*flanneld's ClusterRole needs get, list and watch on nodes/,
  );
});

test(
  "a client certificate is read again when its file changes",
  async () => {
    const { underlay, node, kube } = await open({ user: "certificate" });
    await using _ = underlay;
    const known = kube.certificates.file("flannel");
    const [certificate, key] = [readFileSync(known), readFileSync(kube.certificates.file("flannel-key"))];
    await kube.certificates.authority("strangers");
    await kube.certificates.issue("strangers", "flannel");
    const flanneld = node.flanneld();
    await flanneld.says(/system:anonymous/);
    writeFileSync(known, certificate);
    writeFileSync(kube.certificates.file("flannel-key"), key);
    await until("a new connection", async () => {
      await kube.fate("stop", { server: 0, crash: true });
      await kube.fate("start", { server: 0 });
      return flanneld.status?.phase === "ready";
    });
    await becomes(() => flanneld.status?.phase, "ready");
  },
  TEST_MS,
);

test("--kube-api-url alone, in plain HTTP: as to kubectl proxy, on this host", async () => {
  const { underlay, node, kube } = await open();
  await using _ = underlay;
  node.run("ip link set lo up");
  const script = `
    const ca = require("fs").readFileSync(process.argv[1], "utf8");
    Bun.serve({ hostname: "127.0.0.1", port: 8001, idleTimeout: 0, async fetch(request) {
      const { pathname, search } = new URL(request.url);
      const headers = { ...Object.fromEntries(request.headers), authorization: "Bearer flannel-token" };
      const body = request.method === "GET" ? undefined : await request.text();
      return fetch("https://192.168.77.201:6443" + pathname + search, { method: request.method, headers, body, tls: { ca }, signal: request.signal, timeout: false });
    }});
    console.log("listening");`;
  await node.spawn([process.execPath, "-e", script, kube.certificates.file("ca")]).says(/listening/);
  const flanneld = node.flanneld({ flags: ["--kubeconfig-file=", "--kube-api-url=http://127.0.0.1:8001"] });
  await kube.create(madeNode(150));
  await flanneld.peers(1);
  await kube.create(madeNode(151));
  await flanneld.peers(2);
});
