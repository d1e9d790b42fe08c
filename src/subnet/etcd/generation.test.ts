import { describe, expect, test } from "bun:test";
import type { Revision } from "../registry.ts";
import { StoreError, type StoreReason } from "../store_error.ts";
import { type Answer, decideGeneration } from "./generation.ts";

const PLACE = "http://192.0.2.1:2379";
const A = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":1}}';
const A_OTHERWISE = '{ "Backend": {"VNI": 1, "Type": "vxlan"}, "Network": "10.5.0.0/16" }\n';
const B = '{"Network":"10.6.0.0/16","SubnetLen":25,"Backend":{"Type":"vxlan","VNI":1}}';

function holds(text: string | undefined): Answer {
  return { kind: "read", stored: { text, revision: "1" as Revision } };
}

function fails(reason: StoreReason, message = `cannot read: ${reason}`): Answer {
  return { kind: "failed", error: new StoreError(reason, PLACE, message) };
}

/** "v3", "v2", "open to v3, v2", or the reason of the failure. */
function outcome(v3: Answer, v2: Answer): string {
  const decision = decideGeneration(v3, v2, "/net/config", PLACE);
  switch (decision.kind) {
    case "chosen":
      return decision.generation;
    case "open":
      return `open to ${decision.offered.join(", ")}`;
    case "failed":
      return decision.error.reason;
  }
}

const NONE = holds(undefined);

describe("who holds the configuration", () => {
  test.each([
    ["v3 alone", holds(A), NONE, "v3"],
    ["v2 alone", NONE, holds(A), "v2"],
    ["both, spelt otherwise", holds(A), holds(A_OTHERWISE), "v3"],
    ["both, the same text that is no JSON", holds("x"), holds("x\n"), "v3"],
    ["both, different", holds(A), holds(B), "invalid"],
    ["both, one no JSON", holds(A), holds("x"), "invalid"],
    ["neither", NONE, NONE, "open to v3, v2"],
    ["neither, v2 not offered", NONE, fails("absent"), "open to v3"],
    ["neither, v3 not offered", fails("invalid"), NONE, "open to v2"],
    ["v2 alone, v3 not offered", fails("invalid"), holds(A), "v2"],
    ["v3, v2 not offered", holds(A), fails("absent"), "v3"],
    ["v3, v2 silent", holds(A), fails("unreachable"), "v3"],
    ["v3 silent, v2 has a text that may be stale", fails("unreachable"), holds(A), "unreachable"],
    ["v3 denied, v2 has a text that may be stale", fails("denied"), holds(A), "denied"],
    ["v3 empty, v2 silent and may have it", NONE, fails("unreachable"), "unreachable"],
    ["v3 empty, v2 denied and may have it", NONE, fails("denied"), "denied"],
    ["neither can be asked", fails("denied"), fails("unreachable"), "denied"],
  ] as const)("%s", (_, v3, v2, want) => {
    expect(outcome(v3, v2)).toBe(want);
  });
});

function messageOf(v3: Answer, v2: Answer): string {
  const decision = decideGeneration(v3, v2, "/net/config", PLACE);
  if (decision.kind !== "failed") throw new Error(`decided ${decision.kind}`);
  return decision.error.message;
}

test("two that differ are named by what differs", () => {
  expect(messageOf(holds(A), holds(B))).toBe(
    "cannot choose between etcd v3 and v2 at http://192.0.2.1:2379: both hold /net/config, and they differ " +
      '(Network: "10.5.0.0/16" in v3, "10.6.0.0/16" in v2; SubnetLen: not given in v3, 25 in v2); ' +
      "give --etcd-api=3 or --etcd-api=2, or make them equal",
  );
});

test.each([
  ["cannot reach etcd at X: refused", "unreachable", "cannot use etcd at X: refused", false],
  ["cannot reach etcd at X: refused", "absent", "no v2 here", false],
  ["cannot reach etcd at X: refused", "denied", "cannot read: 401", true],
] as const)("of two failures v3's is told, and v2's if it tells more: %s, %s %s", (three, reason, two, both) => {
  const message = messageOf(fails("unreachable", three), fails(reason, two));
  expect(message).toBe(both ? `${three}\nand with etcd's v2 API: ${two}` : three);
});
