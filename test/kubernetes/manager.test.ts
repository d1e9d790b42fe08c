// The subnet manager over an API server, in one process: on the double and, where KUBECONFIG_UNDER_TEST names an administrator's kubeconfig, on a real one. The
// network is one for benchmarks (RFC 2544), which no cluster uses.

import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Prefix } from "../../src/ip/prefix.ts";
import type { LeaseSet } from "../../src/lease/set.ts";
import type { ClusterAccess } from "../../src/subnet/kubernetes/access.ts";
import { readKubeconfig } from "../../src/subnet/kubernetes/kubeconfig.ts";
import { Caller, type Json, STRATEGIC } from "./caller.ts";
import { Cluster } from "./contract.ts";
import { Loopback } from "./loopback.ts";
import { LIMIT_MS, Member } from "./member.ts";

const { KUBECONFIG_UNDER_TEST } = process.env;
const NODES = "/api/v1/nodes";
const PREFIX = "flannel.alpha.coreos.com/";
const NETWORK = "198.18.0.0/16" as Prefix;

let all: AsyncDisposableStack;
let access: ClusterAccess;
let cluster: Cluster;
/** No two runs on one cluster meet. */
let third = Math.floor(Math.random() * 200);

beforeAll(async () => {
  all = new AsyncDisposableStack();
  if (KUBECONFIG_UNDER_TEST) access = readKubeconfig(KUBECONFIG_UNDER_TEST, process.env);
  else access = all.use(await Loopback.open()).access("admin-token");
  cluster = all.use(new Cluster(new Caller(access)));
});

afterAll(() => all.disposeAsync());

const nextSubnet = () => `198.18.${third++ % 256}.0/24`;

async function create(podCIDR?: string, conditions: readonly object[] = []): Promise<string> {
  const name = cluster.newName();
  const spec = podCIDR === undefined ? {} : { podCIDR, podCIDRs: [podCIDR] };
  const made = await cluster.admin.ask("POST", NODES, { apiVersion: "v1", kind: "Node", metadata: { name }, spec });
  expect(made.status).toBe(201);
  if (conditions.length > 0) await cluster.admin.patch(name, { status: { conditions } });
  return name;
}

const node = async (name: string): Promise<Json> => (await cluster.admin.ask("GET", `${NODES}/${name}`)).json;
const condition = async (name: string): Promise<Json> =>
  (await node(name)).status.conditions?.find(({ type }: Json) => type === "NetworkUnavailable");

const member = (name: string) => new Member(access, name, NETWORK);

const has = (set: LeaseSet, key: string) => [...set.leases.keys()].some((each) => each === key);
const keyOf = (subnet: string) => subnet.replace("/", "-");

test("two nodes get their pod CIDRs, tell the cluster, and see each other come, change and go", async () => {
  const [first, second] = [nextSubnet(), nextSubnet()];
  using a = member(await create(first));
  using b = member(await create(second));
  const [ownA, ownB] = [await a.acquire("198.51.100.1"), await b.acquire("198.51.100.2")];
  expect([ownA.subnet.ipv4 as string, ownB.subnet.ipv4 as string]).toEqual([first, second]);
  await a.manager.ready(ownA, a.stop.signal);
  expect(await condition(a.name)).toMatchObject({ status: "False", reason: "FlannelIsUp" });
  await a.set(ownA, (set) => has(set, ownB.key) && !has(set, ownA.key));
  await b.acquire("198.51.100.22");
  await a.set(ownA, ({ leases }) => leases.get(ownB.key)?.publicIp.ipv4 === "198.51.100.22");
  expect(await a.manager.remembered({}, a.stop.signal)).toMatchObject({
    backendType: "vxlan",
    backendData: { ipv4: { VNI: 1 } },
  });
  await cluster.admin.ask("DELETE", `${NODES}/${b.name}`);
  await a.set(ownA, (set) => !has(set, ownB.key));
  expect(a.events).toEqual([]);
});

test("what is there is not written again", async () => {
  const name = await create(nextSubnet());
  using a = member(name);
  await a.acquire("198.51.100.1");
  const { resourceVersion } = (await node(name)).metadata;
  using again = member(name);
  await again.acquire("198.51.100.1");
  expect((await node(name)).metadata.resourceVersion).toBe(resourceVersion);
});

test("a node without a pod CIDR waits for one, and does not say meanwhile that its network is there", async () => {
  const name = await create(undefined, [{ type: "NetworkUnavailable", status: "False", reason: "FlannelIsUp" }]);
  using a = member(name);
  const acquiring = a.acquire("198.51.100.1");
  const end = performance.now() + LIMIT_MS;
  while ((await condition(name))?.status !== "True" && performance.now() < end) await Bun.sleep(20);
  expect(await condition(name)).toMatchObject({ status: "True", reason: "FlannelIsWaiting" });
  expect(a.events).toMatchObject([{ kind: "waiting", reason: expect.stringContaining("--allocate-node-cidrs=true") }]);
  const subnet = nextSubnet();
  await cluster.admin.ask("PATCH", `${NODES}/${name}`, { spec: { podCIDR: subnet, podCIDRs: [subnet] } }, STRATEGIC);
  const own = await acquiring;
  expect(own.key as string).toBe(keyOf(subnet));
});

test("a pod CIDR outside the network is refused, and nothing is written", async () => {
  const name = await create("203.0.113.0/24");
  using a = member(name);
  const told = await a.acquire("198.51.100.1").then(String, String);
  expect(told).toContain("its pod CIDR 203.0.113.0/24 is outside the network 198.18.0.0/16");
  expect((await node(name)).metadata.annotations?.[`${PREFIX}public-ip`]).toBeUndefined();
});

test("a Node that is made anew is lost, and acquired again", async () => {
  const name = await create(nextSubnet());
  using a = member(name);
  const own = await a.acquire("198.51.100.1");
  const keeping = a.manager.keep(own, a.stop.signal);
  await cluster.admin.ask("DELETE", `${NODES}/${name}`);
  const subnet = nextSubnet();
  await cluster.admin.ask("POST", NODES, { metadata: { name }, spec: { podCIDR: subnet, podCIDRs: [subnet] } });
  expect(await keeping).toBe("lost");
  expect((await a.acquire("198.51.100.1")).subnet.ipv4 as string).toBe(subnet);
  a.stop.abort(new Error("over"));
});
