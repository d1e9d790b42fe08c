// flannelctl subnets over an API server's double: reached by flanneld's flags, or by kubectl's own kubeconfig.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { flannelctl } from "../ctl/flannelctl.ts";
import { Caller } from "./caller.ts";
import { Loopback } from "./loopback.ts";
import { flannelAnnotations, madeNode } from "./made_nodes.ts";

const PREFIX = "flannel.alpha.coreos.com/";

let all: AsyncDisposableStack;
let home: string;
let config: string;

beforeAll(async () => {
  all = new AsyncDisposableStack();
  home = mkdtempSync(join(tmpdir(), "flannel-subnets-"));
  all.defer(() => rmSync(home, { recursive: true, force: true }));
  const loopback = all.use(await Loopback.open());
  const { server } = loopback.access(undefined);
  const ca = readFileSync(loopback.certificates.file("ca")).toString("base64");
  mkdirSync(join(home, ".kube"));
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "default",
    contexts: [{ name: "default", context: { cluster: "here", user: "me" } }],
    clusters: [{ name: "here", cluster: { server, "certificate-authority-data": ca } }],
    users: [{ name: "me", user: { token: "flannel-token" } }],
  };
  writeFileSync(join(home, ".kube/config"), JSON.stringify(kubeconfig));
  config = join(home, "net-conf.json");
  writeFileSync(config, JSON.stringify({ Network: "10.5.0.0/16", Backend: { Type: "vxlan" } }));

  const caller = all.use(new Caller(loopback.access("admin-token")));
  const create = async (change: { name: string; annotations?: object; podCIDR?: string }, n: number) => {
    const made = madeNode(n) as { metadata: object };
    const { name, annotations = flannelAnnotations(n), podCIDR } = change;
    const spec = podCIDR === undefined ? {} : { podCIDR, podCIDRs: [podCIDR] };
    const node = { ...made, apiVersion: "v1", kind: "Node", spec, metadata: { ...made.metadata, name, annotations } };
    expect((await caller.ask("POST", "/api/v1/nodes", node)).status).toBe(201);
  };
  await create({ name: "a", podCIDR: "10.5.2.0/24" }, 2);
  await create({ name: "b-no-cidr" }, 3);
  await create({ name: "c-garbage", podCIDR: "10.5.4.0/24", annotations: annotated(4, "public-ip", "nonsense") }, 4);
  await create({ name: "d-outside", podCIDR: "10.6.1.0/24" }, 5);
  await create({ name: "e-not-flannels", podCIDR: "10.5.6.0/24", annotations: {} }, 6);
  await create({ name: "f-same", podCIDR: "10.5.2.0/24" }, 7);
});

afterAll(() => all.disposeAsync());

const annotated = (n: number, name: string, text: string) => ({ ...flannelAnnotations(n), [`${PREFIX}${name}`]: text });
const call = (...words: readonly string[]) =>
  flannelctl(["subnets", ...words], { env: { HOME: home, KUBECONFIG: "" } });

test("subnets ls --kube-subnet-mgr shows every lease with its node, and why one is refused", async () => {
  const { code, out, err } = await call("ls", "--kube-subnet-mgr", `--net-config-path=${config}`);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(
    out
      .trim()
      .split("\n")
      .map((line) => line.trim().replace(/ {2,}/g, " | ")),
  ).toEqual([
    "NODE | SUBNET | PUBLIC IP | BACKEND | NODE DATA",
    "a | 10.5.2.0/24 | 192.168.77.2 | vxlan | 02:00:00:00:00:02",
    "b-no-cidr | - | 192.168.77.3 | vxlan | 02:00:00:00:00:03 | refused: it has no pod CIDR",
    'c-garbage | 10.5.4.0/24 | ? | - | - | refused: its annotation public-ip is "nonsense", want an ipv4 address',
    "d-outside | 10.6.1.0/24 | 192.168.77.5 | vxlan | 02:00:00:00:00:05 | refused: its subnet 10.6.1.0/24 is outside the network 10.5.0.0/16",
    "f-same | 10.5.2.0/24 | 192.168.77.7 | vxlan | 02:00:00:00:00:07 | refused: it overlaps 10.5.2.0-24, which was there before",
  ]);
});

test("subnets get finds a pod's node, and says where it looked", async () => {
  const found = await call("get", "10.5.2.77", "--kube-subnet-mgr", "--json");
  expect(JSON.parse(found.out)).toMatchObject({ node: "a", publicIp: { ipv4: "192.168.77.2" }, fault: null });
  const file = join(home, ".kube/config");
  const missing = await call("get", "10.99.0.1", "--kube-subnet-mgr", `--kubeconfig-file=${file}`);
  expect(missing.code).toBe(1);
  expect(missing.err).toMatch(/^Kubernetes API server https:\S+ holds no lease for 10\.99\.0\.1; /);
});

test("without a kubeconfig anywhere the fault names the flag", async () => {
  const { code, err } = await flannelctl(["subnets", "ls", "--kube-subnet-mgr"], {
    env: { HOME: "/", KUBECONFIG: "" },
  });
  expect(code).toBe(2);
  expect(err).toContain("--kubeconfig-file: missing, want a kubeconfig, or --kube-api-url");
});
