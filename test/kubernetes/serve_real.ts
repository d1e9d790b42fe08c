// A real kube-apiserver, or several on one etcd, in place of the double: the same program to call, the same UNIX socket, and as many of the fates as a real
// server can be given. Taken where KUBE_APISERVER names a kube-apiserver; etcd is this machine's own.

import { mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import type { Asked } from "./api_server.ts";
import { type Fates, heartbeats, serveControl, untilDue } from "./control.ts";
import { heartbeat, madeNode } from "./made_nodes.ts";
import type { ServeOptions } from "./serve.ts";

const READY_LIMIT_MS = 60_000;
const POLL_MS = 50;
/** Requests under way at a time when many nodes are made. */
const PARALLEL = 16;
const ADMIN = "admin-token";
const STRATEGIC = "application/strategic-merge-patch+json";
/** What flannel's ClusterRole allows. */
const RULES = [
  { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
  { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] },
  { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
];
const RBAC = "/apis/rbac.authorization.k8s.io/v1";

const options = JSON.parse(process.argv[2] ?? "{}") as ServeOptions;
if (options.metadataOnly !== undefined && options.metadataOnly !== "granted")
  throw new Error("a real API server cannot be told how to answer a request for metadata alone");
const program = process.env.KUBE_APISERVER ?? "kube-apiserver";
/** Goes with the cluster's own. */
const directory = mkdtempSync(join(dirname(options.control), "server-"));
const auditFile = join(directory, "audit");

function spawn(name: string, command: readonly string[]): Bun.Subprocess {
  const log = openSync(join(directory, `${name}.log`), "a");
  return Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...command], {
    stdin: "ignore",
    stdout: log,
    stderr: log,
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address ? address.port : 0;
}

async function startEtcd(): Promise<string> {
  const [clients, peers] = [await freePort(), await freePort()].map((port) => `http://127.0.0.1:${port}`);
  spawn("etcd", [
    "etcd",
    `--data-dir=${join(directory, "etcd")}`,
    `--listen-client-urls=${clients}`,
    `--advertise-client-urls=${clients}`,
    `--listen-peer-urls=${peers}`,
    `--initial-advertise-peer-urls=${peers}`,
    `--initial-cluster=default=${peers}`,
    "--unsafe-no-fsync",
  ]);
  return clients ?? "";
}

/** Files that every server reads when it starts. */
async function writeFiles(): Promise<void> {
  writeFileSync(join(directory, "tokens"), `${ADMIN},admin,1,system:masters\nflannel-token,flannel,2\n`);
  const policy = { apiVersion: "audit.k8s.io/v1", kind: "Policy", rules: [{ level: "Request" }] };
  writeFileSync(
    join(directory, "policy"),
    JSON.stringify({ ...policy, omitStages: ["ResponseComplete", "ResponseStarted"] }),
  );
  writeFileSync(auditFile, "");
  const { exitCode } = Bun.spawnSync(["openssl", "genrsa", "-out", join(directory, "accounts.key"), "2048"]);
  if (exitCode !== 0) throw new Error("openssl makes no key for service accounts");
}

function startServer(i: number, etcd: string): Bun.Subprocess {
  const host = options.hosts[i] ?? "";
  const accounts = join(directory, "accounts.key");
  return spawn(`apiserver${i}`, [
    program,
    `--etcd-servers=${etcd}`,
    `--bind-address=${host}`,
    `--advertise-address=${host}`,
    `--secure-port=${options.port}`,
    `--tls-cert-file=${options.certFile}`,
    `--tls-private-key-file=${options.keyFile}`,
    `--client-ca-file=${options.clientCaFile}`,
    `--token-auth-file=${join(directory, "tokens")}`,
    "--authorization-mode=RBAC",
    "--service-account-issuer=https://kubernetes",
    `--service-account-key-file=${accounts}`,
    `--service-account-signing-key-file=${accounts}`,
    `--service-cluster-ip-range=${host.includes(":") ? "fd00:99::/112" : "10.199.0.0/24"}`,
    "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
    `--audit-policy-file=${join(directory, "policy")}`,
    `--audit-log-path=${auditFile}`,
    `--cert-dir=${join(directory, `certificates${i}`)}`,
  ]);
}

/** As the administrator, to the first server that answers. */
async function ask(method: string, path: string, body?: string, contentType = "application/json"): Promise<Response> {
  const host = options.hosts.find((_, i) => servers[i]) ?? options.hosts[0] ?? "";
  return await fetch(`https://${host.includes(":") ? `[${host}]` : host}:${options.port}${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN}`, "content-type": contentType },
    tls: { rejectUnauthorized: false },
    ...(body !== undefined && body !== "" && { body }),
  });
}

async function ready(): Promise<void> {
  const end = performance.now() + READY_LIMIT_MS;
  for (;;) {
    const answer = await ask("GET", "/readyz").catch(() => undefined);
    if (answer?.status === 200) return;
    if (performance.now() > end) {
      const said = readFileSync(join(directory, "apiserver0.log"), "utf8").slice(-2_000);
      throw new Error(`The API server is not ready: ${said}`);
    }
    await Bun.sleep(POLL_MS);
  }
}

async function make(path: string, object: object): Promise<void> {
  const answer = await ask("POST", path, JSON.stringify(object));
  if (!answer.ok && answer.status !== 409) throw new Error(`POST ${path}: ${await answer.text()}`);
}

async function grant(): Promise<void> {
  const [apiVersion, metadata] = ["rbac.authorization.k8s.io/v1", { name: "flannel" }];
  await make(`${RBAC}/clusterroles`, { apiVersion, kind: "ClusterRole", metadata, rules: RULES });
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "flannel" };
  const subjects = [{ kind: "User", name: "flannel", apiGroup: "rbac.authorization.k8s.io" }];
  await make(`${RBAC}/clusterrolebindings`, { apiVersion, kind: "ClusterRoleBinding", metadata, roleRef, subjects });
}

/** "namespace/name" → the node it is on. */
async function makePods(pods: Readonly<Record<string, string>>): Promise<void> {
  for (const [where, nodeName] of Object.entries(pods)) {
    const [namespace = "", name] = where.split("/");
    await make("/api/v1/namespaces", { metadata: { name: namespace } });
    const spec = { nodeName, containers: [{ name: "flannel", image: "flannel" }] };
    await make(`/api/v1/namespaces/${namespace}/pods`, { metadata: { name }, spec });
  }
}

const unknown = (word: string) => (): never => {
  throw new Error(`a real API server is not given the fate ${word} here`);
};

let audited = 0;

const fate: Fates = {
  stop: async ({ server, crash }) => {
    servers[server]?.kill(crash ? "SIGKILL" : "SIGTERM");
    await servers[server]?.exited;
    servers[server] = undefined;
  },
  start: async ({ server }) => {
    servers[server] = startServer(server, etcd);
    await ready();
  },
  forbid: async ({ verbs }) => {
    const rules = RULES.map((rule) => ({ ...rule, verbs: rule.verbs.filter((verb) => !verbs.includes(verb)) }));
    const body = JSON.stringify({ rules: rules.filter((rule) => rule.verbs.length > 0) });
    await ask("PATCH", `${RBAC}/clusterroles/flannel`, body, "application/merge-patch+json");
  },
  fill: async (how) => {
    const begun = performance.now();
    const numbers = Array.from({ length: how.count }, (_, i) => i);
    const worker = async () => {
      for (let i = numbers.shift(); i !== undefined; i = numbers.shift()) {
        await untilDue(i, how, begun);
        await make("/api/v1/nodes", { apiVersion: "v1", kind: "Node", ...madeNode(how.from + i, how.bytes) });
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, worker));
  },
  heartbeats: heartbeats((n) => {
    ask("PATCH", `/api/v1/nodes/made-${n}/status`, JSON.stringify(heartbeat()), STRATEGIC).catch(() => {});
  }),
  asked: () => {
    const lines = readFileSync(auditFile, "utf8").slice(audited);
    const whole = lines.lastIndexOf("\n") + 1;
    audited += whole;
    return lines
      .slice(0, whole)
      .split("\n")
      .filter(Boolean)
      .map(askedOf)
      .filter(({ user }) => user === "flannel");
  },
  compact: unknown("compact"),
  restore: unknown("restore"),
  endWatches: unknown("endWatches"),
  overload: unknown("overload"),
  tokens: unknown("tokens"),
};

function askedOf(line: string): Asked {
  const event = JSON.parse(line);
  return {
    user: event.user.username,
    verb: event.verb,
    path: event.requestURI,
    contentType: undefined, // no audit event has headers
    accept: undefined,
    userAgent: event.userAgent,
    body: event.requestObject === undefined ? "" : JSON.stringify(event.requestObject),
  };
}

/** What `kubectl create` would have filled in. */
function whole(method: string, path: string, body: string): string {
  if (method !== "POST" || path !== "/api/v1/nodes") return body;
  return JSON.stringify({ apiVersion: "v1", kind: "Node", ...JSON.parse(body) });
}

await writeFiles();
const etcd = await startEtcd();
const servers: (Bun.Subprocess | undefined)[] = options.hosts.map((_, i) => startServer(i, etcd));
await ready();
await grant();
await makePods(options.pods ?? {});
serveControl(
  options.control,
  fate,
  async ({ method, path, contentType, body }) => {
    const answer = await ask(method, path, whole(method, path, body), contentType);
    return new Response(await answer.text(), { status: answer.status });
  },
  (error) => new Response(String(error), { status: 500 }),
);
process.stdout.write("listening\n");
