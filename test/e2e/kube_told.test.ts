// What goes wrong at a start with Kubernetes as the store, as an operator is told of it; and that flanneld goes on by itself when it is put right.

import { expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { becomes } from "./becomes.ts";
import type { Flanneld } from "./flanneld.ts";
import { type KubernetesUnderlay, NETWORK, Underlay } from "./nodes.ts";
import { until } from "./program.ts";

const PREFIX = "flannel.alpha.coreos.com/";
const TEST_MS = 60_000;

async function open(kubernetes: KubernetesUnderlay = {}, config: object = NETWORK) {
  const underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], config, kubernetes });
  return { underlay, node: underlay.node(1), kube: underlay.kube.cluster };
}

const ours = (annotations: object = {}) => Object.keys(annotations).filter((name) => name.startsWith(PREFIX));

/** Ended with 1, for this reason and once, with nothing left on the node or in its Node. */
async function refused(flanneld: Flanneld, { node, kube }: Awaited<ReturnType<typeof open>>, reason: RegExp) {
  expect(await flanneld.exit()).toBe(1);
  expect(flanneld.lines(/^[EF]/)).toEqual([expect.stringMatching(reason)]);
  expect(flanneld.status).toMatchObject({ phase: "failed", cause: expect.stringMatching(reason) });
  expect(node.objects()).toEqual([]);
  for (const { metadata } of await kube.nodes()) expect(ours(metadata.annotations)).toEqual([]);
}

const names: [string, Readonly<Record<string, string>>, RegExp][] = [
  ["no name", {}, /NODE_NAME: .*env POD_NAME and POD_NAMESPACE must be set in a pod/],
  [
    "an unknown pod",
    { POD_NAME: "other", POD_NAMESPACE: "kube-flannel" },
    /answers 404 to GET \/api\/v1\/namespaces\/kube-flannel\/pods\/other: pods "other" not found/,
  ],
];
test.each(names)("refused: %s", async (_title, environment, reason) => {
  const world = await open({ pods: { "kube-flannel/one": "node1" } });
  await using _ = world.underlay;
  await refused(world.node.flanneld({ environment: { NODE_NAME: "", ...environment } }), world, reason);
});

test("the pod says which node this is", async () => {
  const { underlay, node, kube } = await open({ pods: { "kube-flannel/one": "node1" } });
  await using _ = underlay;
  const environment = { NODE_NAME: "", POD_NAME: "one", POD_NAMESPACE: "kube-flannel" };
  await node.flanneld({ environment }).ready();
  expect(ours((await kube.node("node1")).metadata.annotations)).toHaveLength(4);
  await becomes(async () => (await kube.condition("node1"))?.status, "False");
  const verbs: string[] = [];
  await becomes(async () => {
    verbs.push(...(await kube.asked()).map(({ verb }) => verb));
    return verbs.toSorted();
  }, ["get", "get", "list", "patch", "patch", "watch"]);
  expect(verbs.slice(0, 3)).toEqual(["get", "get", "patch"]); // subnet.env waits for no more
});

const configs: [string, string | undefined, RegExp][] = [
  ["no net-conf.json", undefined, /cannot read .*net-conf\.json: ENOENT/],
  ["no JSON", "{", /net-conf\.json/],
  ["an unknown backend", '{"Network":"10.5.0.0/16","Backend":{"Type":"wat"}}', /Backend\.Type: got "wat"/],
  ["a bad network", '{"Network":"10.5.0.0/99","Backend":{"Type":"vxlan"}}', /Network: got "10\.5\.0\.0\/99"/],
  [
    "two faults at once",
    '{"Network":"x","EnableIPv6":true,"IPv6Network":"y","Backend":{"Type":"vxlan"}}',
    /Network: got "x"[\s\S]*IPv6Network: got "y"/,
  ],
];
test.each(configs)("refused: %s", async (_title, text, reason) => {
  const world = await open();
  await using _ = world.underlay;
  const { configFile } = world.underlay.kube;
  if (text === undefined) rmSync(configFile);
  else writeFileSync(configFile, text);
  const flanneld = world.node.flanneld();
  expect(await flanneld.exit()).toBe(1);
  expect(flanneld.output).toMatch(reason);
  expect(world.node.objects()).toEqual([]);
  expect((await world.kube.asked()).filter(({ verb }) => verb === "patch")).toEqual([]);
});

const cidrs: [string, readonly string[], object, RegExp][] = [
  [
    "a pod CIDR outside the network",
    ["10.99.1.0/24"],
    NETWORK,
    /cannot use node node1: its pod CIDR 10\.99\.1\.0\/24 is outside the network 10\.5\.0\.0\/16 of .*net-conf\.json/,
  ],
  ["a pod CIDR that is none", ["10.5.1.7/24"], NETWORK, /its pod CIDR "10\.5\.1\.7\/24" is no subnet/],
];
test.each(cidrs)("refused, before any annotation is written: %s", async (_title, given, config, reason) => {
  const world = await open({ registers: false }, config);
  await using _ = world.underlay;
  await world.kube.create({ metadata: { name: "node1" }, spec: { podCIDR: given[0], podCIDRs: given }, status: {} });
  await refused(world.node.flanneld(), world, reason);
});

test("podCIDRs without podCIDR are enough", async () => {
  const { underlay, node, kube } = await open({ registers: false });
  await using _ = underlay;
  await kube.create({ metadata: { name: "node1" }, spec: { podCIDRs: ["10.5.7.0/24"] }, status: {} });
  await node.flanneld().ready();
  expect(node.subnet()).toBe("10.5.7.0/24");
});

test(
  "a Node that is not there yet, then has no pod CIDR, then gets one: waits, says so once each, keeps its condition truthful, goes on",
  async () => {
    const { underlay, node, kube } = await open({ registers: false });
    await using _ = underlay;
    const flanneld = node.flanneld();
    await flanneld.says(
      /waiting: there is no node node1 in the cluster yet: kubelet registers it; else check NODE_NAME/,
    );
    await becomes(() => flanneld.status?.cause?.includes("no node node1"), true);
    const condition = { type: "NetworkUnavailable", status: "False", reason: "FlannelIsUp", message: "a lie" };
    await kube.create({ metadata: { name: "node1" }, spec: {}, status: { conditions: [condition] } });
    const missing =
      "node node1 has no ipv4 pod CIDR yet: kube-controller-manager gives one with --allocate-node-cidrs=true and --cluster-cidr";
    await until("told", () => flanneld.output.includes(`waiting: ${missing}`), flanneld);
    await becomes(async () => {
      const now = await kube.condition("node1");
      return [now?.status, now?.reason, now?.message];
    }, ["True", "FlannelIsWaiting", missing]);
    expect(ours((await kube.node("node1")).metadata.annotations)).toEqual([]);
    kube.assign("node1", ["10.5.9.0/24"]);
    await flanneld.ready();
    expect(node.subnet()).toBe("10.5.9.0/24");
    await becomes(async () => (await kube.condition("node1"))?.reason, "FlannelIsUp");
    expect((await kube.condition("node1"))?.status).toBe("False");
    expect(flanneld.lines(/waiting/)).toHaveLength(2);
  },
  TEST_MS,
);

test(
  "the API server is not there: waits and says so once; SIGTERM ends it at once, and when the server comes it goes on",
  async () => {
    const { underlay, node, kube } = await open();
    await using _ = underlay;
    await kube.fate("stop", { server: 0, crash: true });
    const waiting = node.flanneld();
    await waiting.says(
      /cannot reach the API server at https:\/\/192\.168\.77\.201:6443: ECONNREFUSED, connection refused/,
    );
    const asked = performance.now();
    expect(await waiting.stop()).toBe(0);
    expect(performance.now() - asked).toBeLessThan(5_000); // and not the ten minutes that it would wait
    const flanneld = node.flanneld();
    await flanneld.says(/ECONNREFUSED/);
    await Bun.sleep(1_500);
    expect(flanneld.lines(/^E/)).toHaveLength(1);
    expect(node.objects()).toEqual([]);
    await kube.fate("start", { server: 0 });
    await flanneld.ready();
  },
  TEST_MS,
);

const rights: [string, string, string][] = [
  ["get", "get, list and watch on nodes", "config"],
  ["patch", "patch on nodes/status", "lease"],
  ["list", "get, list and watch on nodes", "ready"],
  ["watch", "get, list and watch on nodes", "ready"],
];
test.each(rights)(
  "the right to %s is missing: told which, %s, and goes on when it is there",
  async (verb, right) => {
    const { underlay, node, kube } = await open();
    await using _ = underlay;
    await kube.fate("forbid", { verbs: [verb] });
    const flanneld = node.flanneld();
    await flanneld.says(new RegExp(`answers 403 to .*; flanneld's ClusterRole needs ${right}`));
    await kube.fate("forbid", { verbs: [] });
    await underlay.store.put("10.5.150.0-24", {
      PublicIP: "192.168.77.150",
      BackendType: "vxlan",
      BackendData: { VNI: 1, VtepMAC: "02:00:00:00:00:96" },
    });
    await flanneld.peers(1);
    expect(flanneld.lines(/^E/)).toHaveLength(1);
  },
  TEST_MS,
);

test("the condition that a cloud controller has set is put right, and no other; and only where it is wished", async () => {
  const { underlay, node, kube } = await open();
  await using _ = underlay;
  await kube.setCondition("node1", {
    type: "NetworkUnavailable",
    status: "True",
    reason: "NoRouteCreated",
    message: "",
  });
  const quiet = await node.flanneld({ flags: ["--set-node-network-unavailable=false"] }).ready();
  await Bun.sleep(300);
  expect((await kube.condition("node1"))?.reason).toBe("NoRouteCreated");
  await quiet.stop();
  const flanneld = await node.flanneld().ready();
  await becomes(async () => (await kube.condition("node1"))?.status, "False");
  expect(await kube.condition("node1")).toMatchObject({
    reason: "FlannelIsUp",
    message: "Flannel is running on this node",
  });
  await kube.setCondition("node1", {
    type: "NetworkUnavailable",
    status: "True",
    reason: "NoRouteCreated",
    message: "",
  });
  await becomes(async () => (await kube.condition("node1"))?.reason, "FlannelIsUp");
  expect(flanneld.lines(/somebody changed the condition NetworkUnavailable of node node1: written again/)).toHaveLength(
    1,
  );
  expect(await kube.condition("node1", "Ready")).toMatchObject({ status: "True", reason: "KubeletReady" });
});
