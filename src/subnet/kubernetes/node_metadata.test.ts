import { expect, test } from "bun:test";
import type { KubeNode } from "./node.ts";
import { covers, isMetadataOnly, lacksSubnets, withMetadata, withRead } from "./node_metadata.ts";

const FLANNELS = { "kube-subnet-manager": "true" } as const;
const node = (uid: string, resourceVersion: string, given: Partial<KubeNode> = {}): KubeNode => ({
  name: "a",
  uid,
  createdAt: "2026-11-22T08:49:02Z",
  resourceVersion,
  podCidrs: [],
  annotations: FLANNELS,
  networkUnavailable: undefined,
  ...given,
});
const CIDRS = { podCidrs: ["10.5.1.0/24"] };

test("what came without a spec is told by that", () => {
  const metadata = { name: "a", resourceVersion: "7" };
  expect(isMetadataOnly({ kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata })).toBe(true);
  expect(isMetadataOnly({ kind: "Node", apiVersion: "v1", metadata, spec: {}, status: {} })).toBe(false);
});

test("pod CIDRs stay with a uid", () => {
  expect(withMetadata(node("u1", "1", CIDRS), node("u1", "2"))).toEqual(node("u1", "2", CIDRS));
  expect(withMetadata(node("u1", "1", CIDRS), node("u2", "2"))).toEqual(node("u2", "2"));
  expect(withMetadata(undefined, node("u1", "2"))).toEqual(node("u1", "2"));
});

test("they stay while the node is not flannel's", () => {
  const [before, other] = [node("u1", "1", CIDRS), { annotations: {} }];
  const without = withMetadata(before, node("u1", "2", other));
  expect(without).toEqual(node("u1", "2", { ...CIDRS, ...other }));
  expect(withMetadata(without, node("u1", "3"))).toEqual(node("u1", "3", CIDRS));
});

test("only a node that is flannel's and has none is to be read", () => {
  expect(lacksSubnets(node("u1", "1"))).toBe(true);
  expect(lacksSubnets(node("u1", "1", CIDRS))).toBe(false);
  expect(lacksSubnets(node("u1", "1", { annotations: {} }))).toBe(false);
  expect(lacksSubnets(node("u1", "1", { annotations: { "kube-subnet-manager": "false" } }))).toBe(false);
});

test("an event tells nothing new of a node that is known as it was then, or later", () => {
  expect(covers(node("u1", "8"), node("u1", "7"))).toBe(true);
  expect(covers(node("u1", "7"), node("u1", "7"))).toBe(true);
  expect(covers(node("u1", "6"), node("u1", "7"))).toBe(false);
  expect(covers(node("u2", "8"), node("u1", "7"))).toBe(false);
  expect(covers(undefined, node("u1", "7"))).toBe(false);
});

test("what was read goes before older events, and behind newer ones", () => {
  const read = node("u1", "5", CIDRS);
  expect(withRead(undefined, read)).toEqual(read);
  expect(withRead(node("u1", "4", { annotations: {} }), read)).toEqual(read);
  expect(withRead(node("u0", "4"), read)).toEqual(read); // deleted and made anew before it was read
  const newer = node("u1", "6", { annotations: { ...FLANNELS, "public-ip": "192.0.2.1" } });
  expect(withRead(newer, read)).toEqual({ ...newer, ...CIDRS });
});

test("it is read again when a newer event may have what was missing", () => {
  expect(withRead(node("u1", "6"), node("u1", "5"))).toBeUndefined();
  expect(withRead(node("u2", "6"), node("u1", "5", CIDRS))).toBeUndefined();
});
