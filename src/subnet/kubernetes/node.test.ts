import { expect, test } from "bun:test";
import { fullPrefix } from "./annotations.ts";
import { hasSubnet, NodeReader, sameForFlannel, subnetsOf } from "./node.ts";

const reader = new NodeReader(fullPrefix("flannel.alpha.coreos.com"));

function json(change: { metadata?: object; spec?: object; status?: object } = {}) {
  return {
    metadata: {
      name: "node1",
      uid: "u1",
      resourceVersion: "224",
      creationTimestamp: "2026-11-22T08:49:02Z",
      annotations: { "flannel.alpha.coreos.com/public-ip": "10.77.0.11", "node.alpha.kubernetes.io/ttl": "0" },
      ...change.metadata,
    },
    spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"], ...change.spec },
    status: { conditions: [{ type: "Ready", status: "True" }], ...change.status },
  };
}

function read(change?: Parameters<typeof json>[0]) {
  const node = reader.read(json(change));
  if (!node) throw new Error("no node");
  return node;
}

test("read: a dozen strings, and only flannel's annotations", () => {
  expect(read()).toEqual({
    name: "node1",
    uid: "u1",
    createdAt: "2026-11-22T08:49:02Z",
    resourceVersion: "224",
    podCidrs: ["10.244.1.0/24"],
    annotations: { "public-ip": "10.77.0.11" },
    networkUnavailable: undefined,
  });
});

test.each([
  undefined,
  null,
  5,
  {},
  { metadata: {} },
  { metadata: { name: "a" } },
  { metadata: { name: 5, resourceVersion: "1" } },
])("read: %j is no Node", (value) => {
  expect(reader.read(value)).toBeUndefined();
});

const cidrs: [string, object, object | string][] = [
  [
    "podCIDRs of both families",
    { podCIDRs: ["10.244.1.0/24", "fd00:10:244:1::/64"] },
    { ipv4: "10.244.1.0/24", ipv6: "fd00:10:244:1::/64" },
  ],
  ["podCIDRs without podCIDR", { podCIDR: undefined }, { ipv4: "10.244.1.0/24" }],
  ["podCIDR without podCIDRs, of an old server", { podCIDRs: undefined }, { ipv4: "10.244.1.0/24" }],
  ["the first of each family", { podCIDRs: ["10.244.1.0/24", "10.244.9.0/24"] }, { ipv4: "10.244.1.0/24" }],
  ["none", { podCIDR: undefined, podCIDRs: undefined }, {}],
  ["empty ones", { podCIDR: "", podCIDRs: [] }, {}],
  ["host bits", { podCIDRs: ["10.244.1.7/24"] }, 'its pod CIDR "10.244.1.7/24" is no subnet such as 10.244.1.0/24'],
  ["rubbish", { podCIDRs: ["x"] }, 'its pod CIDR "x" is no subnet such as 10.244.1.0/24'],
];
test.each(cidrs)("subnetsOf: %s", (_title, spec, wanted) => {
  const subnets = subnetsOf(read({ spec }));
  expect(subnets).toEqual(wanted as never);
  if (typeof subnets !== "string") expect(hasSubnet(subnets)).toBe(Object.keys(wanted).length > 0);
});

const heartbeat = {
  metadata: { resourceVersion: "225" },
  status: { conditions: [{ type: "Ready", status: "True", lastHeartbeatTime: "x" }] },
};
const changes: [string, Parameters<typeof json>[0], boolean][] = [
  ["a heartbeat", heartbeat, true],
  [
    "another's annotation",
    { metadata: { annotations: { ...json().metadata.annotations, "volumes.kubernetes.io/x": "1" } } },
    true,
  ],
  ["a public IP", { metadata: { annotations: { "flannel.alpha.coreos.com/public-ip": "10.77.0.12" } } }, false],
  ["an annotation that goes", { metadata: { annotations: {} } }, false],
  [
    "a new annotation",
    { metadata: { annotations: { ...json().metadata.annotations, "flannel.alpha.coreos.com/backend-v6-data": "{}" } } },
    false,
  ],
  ["a pod CIDR", { spec: { podCIDRs: ["10.244.2.0/24"] } }, false],
  ["a further pod CIDR", { spec: { podCIDRs: ["10.244.1.0/24", "fd00::/64"] } }, false],
  ["the condition", { status: { conditions: [{ type: "NetworkUnavailable", status: "True" }] } }, false],
  ["another node of that name", { metadata: { uid: "u2" } }, false],
];
test.each(changes)("sameForFlannel: %s", (_title, change, same) => {
  expect(sameForFlannel(read(), read(change))).toBe(same);
});
