// The nodes in a guest themselves, with a backend that works everywhere: what the script says is what happened, also when something is broken.

import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { FAMILIES } from "../../src/ip/family.ts";
import { DUAL_STACK } from "../e2e/nodes.ts";
import { everyPing, type NodesResult, runNodes } from "./nodes.ts";

const LIMIT_MS = 240_000;
let nodes: NodesResult;

beforeAll(async () => {
  nodes = await runNodes({
    script: join(import.meta.dir, "nodes_itself.sh"),
    config: DUAL_STACK,
    modules: ["vxlan"],
    timeLimitMs: LIMIT_MS,
  });
}, LIMIT_MS + 10_000);

test("ping_all pings between all pods in every family", () => {
  expect(nodes.said("start")).toEqual(everyPing(FAMILIES));
});

test("a capture has the packets of the filter", () => {
  expect(nodes.said("again")).toEqual(["1 > 2 ipv4: 3 of 3"]);
  expect(nodes.file("capture")).toContain("192.168.77.2.8472: OTV");
});

test("a drift is told by its outcome, also when it was none", () => {
  expect(nodes.said("drift")).toEqual([
    "route deleted: repaired",
    "nothing: cannot be done",
    "harmless: no damage",
    "device deleted: repaired",
  ]);
});

test("a stream loses nothing while flanneld starts again, and something when the node is cut off", () => {
  const [broken = "", ...kept] = nodes.said("loss").toReversed();
  expect(kept.toReversed()).toEqual(["4 TERM: 0 lost", "6 TERM: 0 lost", "4 KILL: 0 lost", "6 KILL: 0 lost"]);
  expect(broken).toMatch(/^broken: [1-9]\d* lost$/);
});
