// flannelctl install and uninstall --kubernetes, with the kubectl that this machine has, against a server that keeps what it is sent; and the files that are made of the
// same objects. EXECUTABLE dist/flannelctl.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { generatedFiles } from "../../src/ctl/install/generate.ts";
import { ObjectServer } from "./discovery.ts";

const ROOT = join(import.meta.dir, "../..");
const FLANNELCTL = resolve(ROOT, "dist/flannelctl");
const MANIFEST = join(ROOT, "packaging/kubernetes/flannel.yml");
const DAEMON_SET = "/apis/apps/v1/namespaces/kube-flannel/daemonsets/kube-flannel-ds";

let directory = "";
let server: ObjectServer;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "flannel-install-"));
  server = new ObjectServer();
  writeFileSync(join(directory, "config"), server.kubeconfig());
});
afterEach(() => {
  server[Symbol.dispose]();
  rmSync(directory, { recursive: true, force: true });
});

async function call(command: readonly string[], path = process.env.PATH) {
  const env = { ...process.env, PATH: path, HOME: directory, KUBECONFIG: join(directory, "config") };
  const child = Bun.spawn([...command], { env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { exitCode, out, err };
}

const flannelctl = (...words: readonly string[]) => call([FLANNELCTL, ...words]);
const objects = (yaml: string) => Bun.YAML.parse(yaml) as Record<string, unknown>[];

test("the manifest, the base and the table of values are what is made of the description", () => {
  const files = generatedFiles(ROOT);
  expect(files.size).toBe(7);
  for (const [path, text] of files) expect([path, readFileSync(join(ROOT, path), "utf8")]).toEqual([path, text]);
});

test("flannelctl prints the manifest", async () => {
  const { exitCode, out, err } = await flannelctl("install", "--kubernetes");
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
  expect(readFileSync(MANIFEST, "utf8")).toEndWith(out);
  expect(objects(out).map(({ kind }) => kind)).toEqual([
    "Namespace",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "ConfigMap",
    "DaemonSet",
  ]);
});

test("the base is the manifest, with a configuration that has a hash", async () => {
  const { exitCode, out, err } = await call(["kubectl", "kustomize", join(ROOT, "packaging/kubernetes/base")]);
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
  const [, name = ""] = /name: (kube-flannel-cfg-\w+)/.exec(out) ?? [];
  const sorted = (yaml: string) =>
    Object.fromEntries(objects(yaml).map((object) => [`${object.kind} ${JSON.stringify(object.metadata)}`, object]));
  expect(name).not.toBe("");
  expect(sorted(out.replaceAll(name, "kube-flannel-cfg"))).toEqual(
    Object.fromEntries(
      Object.values(sorted(readFileSync(MANIFEST, "utf8"))).map((object) => [
        // kubectl prints the keys in order.
        `${object.kind} ${JSON.stringify(inOrder(object.metadata))}`,
        object,
      ]),
    ),
  );
});

test("kubectl takes the manifest", async () => {
  const { exitCode, out, err } = await call(["kubectl", "apply", "--dry-run=client", "-f", MANIFEST]);
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
  expect(out.match(/ created \(dry run\)/g)?.length).toBe(6);
  expect(server.changes).toEqual([]);
});

test("installed, installed again with another configuration, and taken away", async () => {
  const image = ["--image=registry.example:5000/flannel-ts:1"];
  const install = ["install", "--kubernetes", ...image, "--apply"];
  expect(await flannelctl(...install)).toMatchObject({ exitCode: 0, err: "" });
  const config = "/api/v1/namespaces/kube-flannel/configmaps/kube-flannel-cfg";
  expect([...server.objects.keys()]).toContainValues([config, DAEMON_SET, "/api/v1/namespaces/kube-flannel"]);
  expect(JSON.stringify(server.objects.get(DAEMON_SET))).toContain("registry.example:5000/flannel-ts:1");

  const again = await flannelctl(...install, "--pod-cidr=10.42.0.0/16", "--pod-cidr-v6=fd00:42::/56");
  expect(again.out).toMatch(/configmap\/kube-flannel-cfg configured\n.*daemonset\S* configured/s);
  expect(again.out).toMatch(/clusterrole\S* unchanged/);
  expect(JSON.stringify(server.objects.get(config))).toContain("fd00:42::/56");

  server.changes.length = 0;
  const { exitCode, out, err } = await flannelctl("uninstall", "--kubernetes", ...image, "--apply");
  expect(exitCode).toBe(0);
  expect(err).toContain("left is the namespace kube-flannel");
  // First the nodes are cleaned, then what cleaned them goes.
  expect(out).toMatch(/daemonset\S* configured\n.*successfully rolled out\n.*daemonset\S* "kube-flannel-ds" deleted/s);
  expect(server.changes[0]).toStartWith("PATCH ");
  expect([...server.objects.keys()]).toEqual(["/api/v1/namespaces/kube-flannel"]);
}, 60_000);

test("what uninstall prints cleans the nodes", async () => {
  const { out } = await flannelctl("uninstall", "--kubernetes");
  const text = JSON.stringify(objects(out));
  expect(text).toContain('["/opt/bin/flannelctl","install-cni","--uninstall"');
  expect(text).not.toContain("/opt/bin/flanneld");
  expect(text).not.toContain('"kind":"Namespace"');
});

test("a namespace of the cluster's own is neither made nor labelled", async () => {
  const { out } = await flannelctl("install", "--kubernetes", "--namespace=kube-system");
  expect(objects(out).map(({ kind }) => kind)).not.toContain("Namespace");
  expect(out).toContain("namespace: kube-system");
});

test.each([
  [["install"], 2, "say --kubernetes"],
  [["install", "--kubernetes", "--image=flannel"], 2, "--image: got flannel, want an image with its tag"],
  [["install", "--kubernetes", "--backend=vxln"], 2, 'flannel.backend: got "vxln", want one of vxlan, host-gw'],
  [["install", "--kubernetes", "--pod-cidr=10.244.0.0"], 2, "net-conf.json: Network: got"],
  [["install", "--kubernetes", "--values=/none"], 1, "cannot read /none: ENOENT"],
] as const)("%j ends with %d and says %s", async (words, code, said) => {
  const { exitCode, out, err } = await flannelctl(...words);
  expect({ exitCode, out }).toEqual({ exitCode: code, out: "" });
  expect(err).toContain(said);
});

test("a values file, and options over it", async () => {
  const file = join(directory, "values.yaml");
  writeFileSync(file, "podCidr: 10.1.0.0/16\nflannel:\n  backend: vxlan\n  vni: 7\n  backendOptions: {VNl: 3}\n");
  const { out, err } = await flannelctl("install", "--kubernetes", `--values=${file}`, "--pod-cidr=10.2.0.0/16");
  expect(err).toContain("warning: net-conf.json: Backend.VNl has no effect; did you mean VNI");
  expect(out).toContain('"VNI": 7');
  expect(out).toContain('"Network": "10.2.0.0/16"');
  writeFileSync(file, "a: [");
  expect(await flannelctl("install", "--kubernetes", `--values=${file}`)).toMatchObject({ exitCode: 1, out: "" });
});

test("without kubectl it says what to do; when kubectl fails, so does flannelctl", async () => {
  const bin = join(directory, "bin");
  mkdirSync(bin);
  const none = await call([FLANNELCTL, "install", "--kubernetes", "--apply"], bin);
  expect(none).toMatchObject({ exitCode: 1, out: "" });
  expect(none.err).toContain("there is none in PATH");
  writeFileSync(join(bin, "kubectl"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  const failed = await call([FLANNELCTL, "install", "--kubernetes", "--apply"], bin);
  expect(failed.err).toContain("kubectl apply -f - ended with exit code 1");
  expect(failed.exitCode).toBe(1);
});

function inOrder(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, inOrder(inner)]),
  );
}
