// The Helm chart renders to the objects that `flannelctl install --kubernetes` prints, for every value. Rendered with Helm where HELM names one, else by render.go, which
// is made of the libraries that Helm is made of. Each object is checked against Kubernetes' own schemas.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DaemonSet } from "kubernetes-models/apps/v1";
import { ClusterRole, ClusterRoleBinding } from "kubernetes-models/rbac.authorization.k8s.io/v1";
import { ConfigMap, Secret, ServiceAccount } from "kubernetes-models/v1";
import { version } from "../../package.json";
import { objectsOf } from "../../src/ctl/install/objects.ts";
import type { Schema } from "../../src/ctl/install/schema.ts";
import { SCHEMA, valuesOf } from "../../src/ctl/install/values.ts";
import { yamlOf } from "../../src/ctl/install/yaml.ts";
import { run } from "../kernel/linux_world.ts";

const CHART = join(import.meta.dir, "../../packaging/kubernetes/chart");
const NAMESPACE = "kube-flannel";
const KEY = "4JnRmu3bMsZIbKNHAVnKxDLvLYwq0NyB4MXsIMjYxVI=";

type Json = Readonly<Record<string, unknown>>;
type Named = { readonly kind: string; readonly metadata: { readonly name: string } };

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "flannel-chart-"));
  if (process.env.HELM) return;
  // Debian's packages of Go libraries are for GOPATH; nothing is fetched.
  const go = "GO111MODULE=off GOFLAGS= GOPATH=/usr/share/gocode GOCACHE=$PWD/cache";
  run(`cd ${directory} && ${go} go build -o render ${join(import.meta.dir, "render/render.go")}`);
}, 300_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Exit code and output. */
function tryRender(values: Json, namespace = NAMESPACE) {
  const file = join(directory, "values.json");
  writeFileSync(file, JSON.stringify(values));
  const helm = process.env.HELM;
  const command = helm
    ? [helm, "template", "flannel", CHART, "--namespace", namespace, "--values", file]
    : [join(directory, "render"), CHART, namespace];
  return Bun.spawnSync(command, { stdin: Buffer.from(JSON.stringify(values)) });
}

function render(values: Json, namespace = NAMESPACE): Record<string, unknown> {
  const { exitCode, stdout, stderr } = tryRender(values, namespace);
  if (exitCode !== 0) throw new Error(stderr.toString());
  const documents = Bun.YAML.parse(stdout.toString()) as (Named | null)[];
  return byName(documents.flatMap((document) => document ?? []));
}

/** In no order: Helm sorts by kind. */
function byName(objects: readonly object[]): Record<string, unknown> {
  return Object.fromEntries(
    (objects as readonly Named[]).map((object) => [`${object.kind} ${object.metadata.name}`, object]),
  );
}

const printed = (values: Json, namespace = NAMESPACE) =>
  byName(Bun.YAML.parse(yamlOf(objectsOf(valuesOf(values), namespace))) as object[]);

const flannel = (values: Json): Json => ({ flannel: values });

/** What each shows, beside being the same from both. */
const CASES: readonly (readonly [name: string, values: Json, shows: readonly string[]])[] = [
  [
    "pull secrets",
    { global: { imagePullSecrets: [{ name: "regcred" }] } },
    ['"imagePullSecrets":[{"name":"regcred"}]'],
  ],
  ["no pull secrets, as upstream says it", { global: { imagePullSecrets: null } }, []],
  ["IPv4", { podCidr: "10.42.0.0/16" }, [String.raw`\"Network\": \"10.42.0.0/16\"`]],
  ["dual stack", { podCidrv6: "fd00:42::/56" }, [String.raw`\"EnableIPv6\": true`, String.raw`\"fd00:42::/56\"`]],
  ["IPv6 alone", { podCidr: "", podCidrv6: "fd00:42::/56" }, [String.raw`\"EnableIPv4\": false`]],
  [
    "the image",
    flannel({ image: { repository: "r.example:5000/f", tag: "v1", pullPolicy: "Always" } }),
    ['"image":"r.example:5000/f:v1"', '"Always"'],
  ],
  [
    "another plugin's image",
    flannel({ flannel_cni: { image: { repository: "r.example/plugin", tag: "v2" } } }),
    ['"image":"r.example/plugin:v2"', '["cp","-f","/flannel","/opt/cni/bin/flannel"]'],
  ],
  [
    "the runtime's directories",
    flannel({ cniBinDir: "/usr/libexec/cni", cniConfDir: "/var/lib/k3s/net.d" }),
    ['"path":"/usr/libexec/cni"', '"path":"/var/lib/k3s/net.d"'],
  ],
  ["no configuration installed", flannel({ skipCNIConfigInstallation: true }), []],
  ["nftables", flannel({ enableNFTables: true }), [String.raw`\"EnableNFTables\": true`]],
  [
    "flags",
    flannel({ args: ["--kube-subnet-mgr", "--iface=eth0"], extraArgs: ["--v=3", "--iface-regex=^10\\."] }),
    ['["/opt/bin/flanneld","--kube-subnet-mgr","--iface=eth0","--v=3","--iface-regex=^10\\\\.","--healthz-port=8081"]'],
  ],
  [
    "environment and volumes",
    flannel({
      extraEnv: [{ name: "A", value: "1" }],
      extraVolumes: [{ name: "scripts", configMap: { name: "scripts" } }],
      extraVolumeMounts: [{ name: "scripts", mountPath: "/scripts" }],
    }),
    ['{"name":"A","value":"1"}', '"mountPath":"/scripts"', '"configMap":{"name":"scripts"}'],
  ],
  [
    "vxlan",
    flannel({ backendPort: 4789, vni: 16777215, mtu: 1400, GBP: true, directRouting: true, macPrefix: "0E-2A" }),
    ["Port", "VNI", "MTU", "GBP", "DirectRouting", "MacPrefix", "16777215"].map((word) =>
      word === "16777215" ? word : String.raw`\"${word}\"`,
    ),
  ],
  ["host-gw, which has no options", flannel({ backend: "host-gw", backendPort: 1, mtu: 1400 }), ["host-gw"]],
  [
    "wireguard",
    flannel({
      backend: "wireguard",
      backendPort: 51900,
      backendPortv6: 51901,
      mtu: 1380,
      psk: KEY,
      tunnelMode: "auto",
      keepaliveInterval: 25,
    }),
    [
      String.raw`\"ListenPort\": 51900`,
      String.raw`\"ListenPortV6\": 51901`,
      String.raw`\"Mode\": \"auto\"`,
      String.raw`\"PersistentKeepaliveInterval\": 25`,
      '"projected"',
      '"kind":"Secret"',
    ],
  ],
  ["udp", flannel({ backend: "udp", backendPort: 8286 }), [String.raw`\"Port\": 8286`, '"path":"/dev/net/tun"']],
  ["ipip", flannel({ backend: "ipip", directRouting: true }), [String.raw`\"DirectRouting\": true`]],
  [
    "ipsec",
    flannel({
      backend: "ipsec",
      backendOptions: { PSK: "x".repeat(96), UDPEncap: true, ESPProposal: "aes256-sha256-modp2048" },
    }),
    [String.raw`\"UDPEncap\": true`, '"NET_BIND_SERVICE"', '"kind":"Secret"', '"emptyDir":{"medium":"Memory"}'],
  ],
  ["ipsec by psk", flannel({ backend: "ipsec", psk: "y".repeat(96) }), [String.raw`\"PSK\"`, '"kind":"Secret"']],
  [
    "extension, with all that JSON and Go's HTML would take for their own",
    flannel({
      backend: "extension",
      backendOptions: { SubnetAddCommand: 'read x; ip route add "$SUBNET" via $PUBLIC_IP && echo <ok> > /dev/null' },
    }),
    ["SubnetAddCommand", String.raw`\\u0026\\u0026`],
  ],
  ["alloc", flannel({ backend: "alloc" }), [String.raw`\"Type\": \"alloc\"`]],
  [
    "options that win over values",
    flannel({ vni: 7, backendOptions: { VNI: 9, Learning: true } }),
    [String.raw`\"VNI\": 9`, String.raw`\"Learning\": true`],
  ],
  [
    "a Secret that there is",
    flannel({ netConfSecret: "mine" }),
    ['"secret":{"name":"mine","items":[{"key":"net-conf.json","path":"net-conf.json"}]}'],
  ],
  ["another CNI configuration", flannel({ cniConf: '{"name":"mynet","type":"flannel"}' }), ["mynet"]],
  ["resources", flannel({ resources: { limits: { memory: "1Gi" } } }), ['"limits":{"memory":"1Gi"}', '"cpu":"100m"']],
  ["no resources", flannel({ resources: null }), []],
  [
    "probes",
    flannel({
      healthz: { port: 9090, livenessProbe: { failureThreshold: 5 }, readinessProbe: { periodSeconds: 3 } },
    }),
    ['"--healthz-port=9090"', '"failureThreshold":5', '"periodSeconds":3', '"containerPort":9090'],
  ],
  ["no probes", flannel({ healthz: { port: 0 } }), []],
  ["tolerations", flannel({ tolerations: [{ key: "a", operator: "Exists" }] }), ['[{"key":"a","operator":"Exists"}]']],
  ["nodes", flannel({ nodeSelector: { "kubernetes.io/arch": "amd64" } }), ['{"kubernetes.io/arch":"amd64"}']],
  ["no priority class", flannel({ priorityClassName: "" }), []],
  ["going", flannel({ uninstall: true }), ['"--uninstall"', '["sleep","infinity"]', '"maxUnavailable":"100%"']],
  ["network policies", { netpol: { enabled: true } }, ['"kube-network-policies"', '"networkpolicies"', "/lib/modules"]],
  [
    "network policies, another image",
    { netpol: { enabled: true, args: ["--v=4"], image: { repository: "r.example/netpol", tag: "v3" } } },
    ['["/bin/netpol","--v=4"]', "r.example/netpol:v3"],
  ],
];

test.each(CASES)("the chart and flannelctl make the same objects: %s", (_, values, shows) => {
  const rendered = render(values);
  expect(rendered).toEqual(printed(values));
  const text = JSON.stringify(rendered);
  expect(shows.filter((part) => !text.includes(part))).toEqual([]);
  for (const object of Object.values(rendered)) check(object as Named);
});

test("the defaults, in a namespace whose name could be a number", () => {
  expect(render({}, "2024")).toEqual(printed({}, "2024"));
  expect(JSON.stringify(render({}))).toContain(`"flannel-ts:${version}"`);
});

test("what is left out is not there", () => {
  const text = (values: Json) => JSON.stringify(render(values));
  const all = text({});
  for (const [part, values] of [
    ["readinessProbe", flannel({ healthz: { port: 0 } })],
    ["--healthz-port", flannel({ healthz: { port: 0 } })],
    ['"name":"install-cni"', flannel({ skipCNIConfigInstallation: true })],
    ["system-node-critical", flannel({ priorityClassName: "" })],
    ['"resources":{', flannel({ resources: null })],
    ["10.244.0.0/16", { podCidr: null }],
    ["net-conf.json", flannel({ netConfSecret: "mine" })],
  ] as const) {
    expect([part, all.includes(part)]).toEqual([part, true]);
    const rest = part === "net-conf.json" ? JSON.stringify(render(values)["ConfigMap kube-flannel-cfg"]) : text(values);
    expect([part, rest.includes(part)]).toEqual([part, false]);
  }
  // A key that a Secret is for stands nowhere else.
  const { "Secret kube-flannel-cfg": secret, ...others } = render(flannel({ backend: "wireguard", psk: KEY }));
  expect(JSON.stringify(secret)).toContain(KEY);
  expect(JSON.stringify(others)).not.toContain(KEY);
});

test("every value of the schema is in a case, which renders to something else than the defaults", () => {
  const whole = JSON.stringify(render({}));
  const touched = CASES.filter(([, values]) => JSON.stringify(render(values)) !== whole).flatMap(([, values]) =>
    paths(values, SCHEMA, ""),
  );
  expect(leaves(SCHEMA, "").filter((path) => !touched.includes(path))).toEqual([]);
});

test("a values file of upstream's chart is taken, with every value that it has", () => {
  const values: Json = {
    ...UPSTREAM,
    flannel: { ...UPSTREAM.flannel, ...UPSTREAM_COMMENTED, image: { repository: "r.example/f", tag: "v" } },
  };
  expect(render(values)).toEqual(printed(values));
});

test.each([
  [flannel({ backnd: "vxlan" }), /backnd/],
  [flannel({ backend: "vxln" }), /backend/],
  [flannel({ backendPort: "8472" }), /backendPort/],
  [flannel({ healthz: { port: 65_536 } }), /port/],
  [flannel({ cniBinDir: "opt" }), /cniBinDir/],
  [flannel({ args: [1] }), /args/],
  [flannel({ args: null }), /args/],
  [flannel({ tolerations: ["x"] }), /tolerations/],
  [{ podcidr: "10.1.0.0/16" }, /podcidr/],
] as const)("values that have no sense are refused: %j", (values, words) => {
  expect(() => valuesOf(values)).toThrow(words);
  if (!process.env.HELM) return;
  const { exitCode, stderr } = tryRender(values);
  expect(exitCode).not.toBe(0);
  expect(stderr.toString()).toMatch(words);
});

test("all faults of the values are named at once", () => {
  expect(() => valuesOf(flannel({ vni: -1, mtu: 1.5, psq: "" }))).toThrow(
    /flannel\.mtu: got 1\.5, .*\nflannel\.vni: got -1, .*\nflannel\.psq: .*want flannel\.psk/s,
  );
});

test("the chart's version is the product's", () => {
  const about = Bun.YAML.parse(readFileSync(join(CHART, "Chart.yaml"), "utf8"));
  expect(about).toMatchObject({ version, appVersion: version });
});

test("the schemas refuse what Kubernetes would", () => {
  const daemonSet = printed({})["DaemonSet kube-flannel-ds"] as { spec: { template: { spec: Json } } };
  const broken = structuredClone(daemonSet);
  broken.spec.template.spec = { ...broken.spec.template.spec, hostNetwork: "yes" };
  expect(() => check(broken as unknown as Named)).toThrow(/hostNetwork/);
});

const MODELS = { ClusterRole, ClusterRoleBinding, ConfigMap, DaemonSet, Secret, ServiceAccount };

/** Throws what Kubernetes' schema of its kind has against it. */
function check(object: Named): void {
  const Model = MODELS[object.kind as keyof typeof MODELS] as new (data: never) => { validate(): void };
  new Model(object as never).validate();
}

function leaves(schema: Schema, path: string): string[] {
  if (schema.description !== undefined) return [path];
  return Object.entries(schema.properties ?? {}).flatMap(([key, inner]) => leaves(inner, `${path}.${key}`));
}

/** Those of the schema's leaves that `values` set. */
function paths(values: unknown, schema: Schema, path: string): string[] {
  if (schema.description !== undefined) return [path];
  return Object.entries(values as Json).flatMap(([key, value]) => {
    const inner = schema.properties?.[key];
    return inner ? paths(value, inner, `${path}.${key}`) : [];
  });
}

/** The keys and values of upstream's values.yaml, v0.28.9, and those that it has as comments. */
const UPSTREAM = {
  global: { imagePullSecrets: null },
  podCidr: "10.244.0.0/16",
  podCidrv6: "",
  flannel: {
    image: { repository: "ghcr.io/flannel-io/flannel", tag: "v0.28.9" },
    flannel_cni: { image: { repository: "ghcr.io/flannel-io/flannel-cni-plugin", tag: "v1.9.1-flannel3" } },
    cniBinDir: "/opt/cni/bin",
    cniConfDir: "/etc/cni/net.d",
    skipCNIConfigInstallation: false,
    enableNFTables: false,
    args: ["--ip-masq", "--kube-subnet-mgr"],
    backend: "vxlan",
    cniConf: '{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel"}]}',
    resources: { requests: { cpu: "100m", memory: "50Mi" } },
    healthz: {
      port: 8081,
      livenessProbe: { initialDelaySeconds: 10, periodSeconds: 30 },
      readinessProbe: { initialDelaySeconds: 5, periodSeconds: 10 },
    },
    tolerations: [
      { effect: "NoExecute", operator: "Exists" },
      { effect: "NoSchedule", operator: "Exists" },
    ],
    nodeSelector: {},
  },
  netpol: {
    enabled: false,
    args: ["--hostname-override=$(MY_NODE_NAME)", "--v=2"],
    image: { repository: "registry.k8s.io/networking/kube-network-policies", tag: "v1.0.0" },
  },
};
const UPSTREAM_COMMENTED = {
  backendPort: 0,
  mtu: 1500,
  vni: 1,
  GBP: false,
  directRouting: false,
  macPrefix: "0E-2A",
  backendPortv6: 51821,
  psk: "0",
  tunnelMode: "separate",
  keepaliveInterval: 0,
};
