import { expect, test } from "bun:test";
import type { StoredLease } from "../../lease/set.ts";
import type { Annotations } from "./annotations.ts";
import { Claims } from "./claims.ts";
import type { KubeNode } from "./node.ts";

class Sink {
  readonly held = new Map<string, string>();
  puts = 0;

  put({ key, value }: StoredLease): void {
    this.puts++;
    this.held.set(key, JSON.parse(value).PublicIP);
  }

  remove(key: string): void {
    this.held.delete(key);
  }
}

function node(name: string, cidr: string, publicIp: string, change: Partial<KubeNode> = {}): KubeNode {
  const annotations: Annotations = {
    "kube-subnet-manager": "true",
    "backend-type": "vxlan",
    "backend-data": "null",
    "public-ip": publicIp,
  };
  const createdAt = `2026-11-22T08:49:0${name.at(-1)}Z`;
  return {
    name,
    uid: name,
    createdAt,
    resourceVersion: "1",
    podCidrs: cidr === "" ? [] : [cidr],
    annotations,
    networkUnavailable: undefined,
    ...change,
  };
}

const A = node("a1", "10.244.1.0/24", "10.77.0.1");
const B = node("b2", "10.244.2.0/24", "10.77.0.2");
const KEY_A = "10.244.1.0-24";
const KEY_B = "10.244.2.0-24";

function of(...nodes: readonly KubeNode[]) {
  const sink = new Sink();
  const claims = new Claims(sink);
  for (const each of nodes) claims.set(each.name, each);
  return { claims, held: () => Object.fromEntries(sink.held) };
}

test("a node holds its subnet until it goes", () => {
  const { claims, held } = of(A, B);
  expect(held()).toEqual({ [KEY_A]: "10.77.0.1", [KEY_B]: "10.77.0.2" });
  claims.set("a1", undefined);
  expect(held()).toEqual({ [KEY_B]: "10.77.0.2" });
});

const goes: [string, Partial<KubeNode>, string | undefined][] = [
  ["its annotations are removed", { annotations: {} }, undefined],
  ["an operator takes it out", { annotations: { ...A.annotations, "kube-subnet-manager": "false" } }, undefined],
  ["it loses its pod CIDR", { podCidrs: [] }, undefined],
  ["it publishes rubbish", { annotations: { ...A.annotations, "public-ip": "x" } }, "public-ip"],
  ["its pod CIDR is rubbish", { podCidrs: ["x"] }, "no subnet"],
];
test.each(goes)("a peer goes when %s, and comes back", (_title, change, reason) => {
  const { claims, held } = of(A, B);
  claims.set("a1", { ...A, ...change });
  expect(held()).toEqual({ [KEY_B]: "10.77.0.2" });
  expect([...claims.refused.keys()]).toEqual(reason ? ["a1"] : []);
  if (reason) expect(claims.refused.get("a1")).toContain(reason);
  claims.set("a1", A);
  expect(held()).toEqual({ [KEY_A]: "10.77.0.1", [KEY_B]: "10.77.0.2" });
  expect(claims.refused.size).toBe(0);
});

test("a node that goes is no longer told of", () => {
  const { claims } = of({ ...A, podCidrs: ["x"] });
  claims.set("a1", undefined);
  expect(claims.refused.size).toBe(0);
});

test("a changed pod CIDR is one subnet less and one more", () => {
  const { claims, held } = of(A, B);
  claims.set("a1", { ...A, podCidrs: ["10.244.3.0/24"] });
  expect(held()).toEqual({ [KEY_B]: "10.77.0.2", "10.244.3.0-24": "10.77.0.1" });
});

test("of two with one subnet the older has it, whatever the order, and the other follows when it goes", () => {
  const young = node("c3", "10.244.1.0/24", "10.77.0.3");
  for (const order of [
    [A, young],
    [young, A],
  ]) {
    const { claims, held } = of(...order);
    expect(held()).toEqual({ [KEY_A]: "10.77.0.1" });
    expect([...claims.refused]).toEqual([["c3", "its pod CIDR 10.244.1.0-24 is node a1's too, which is older"]]);
    claims.set("c3", { ...young, annotations: { ...young.annotations, "public-ip": "10.77.0.33" } });
    expect(held()).toEqual({ [KEY_A]: "10.77.0.1" });
    claims.set("a1", undefined);
    expect(held()).toEqual({ [KEY_A]: "10.77.0.33" });
    expect(claims.refused.size).toBe(0);
  }
});
