import { expect, test } from "bun:test";
import { type ConfigState, configState, type Texts } from "./config_state.ts";
import type { Side } from "./reconcile.ts";

const A = '{"Network":"10.5.0.0/16"}';
const B = '{"Network":"10.6.0.0/16"}';
const FROM: ConfigState = { kind: "copy", from: "from" };
const TO: ConfigState = { kind: "copy", from: "to" };

test.each<[string, Texts, string | undefined, Side | undefined, ConfigState]>([
  ["at first the old side's is copied", { from: A, to: undefined }, undefined, undefined, FROM],
  ["the same on both", { from: A, to: ` ${A}` }, undefined, undefined, { kind: "same" }],
  ["two that were never the same", { from: A, to: B }, undefined, undefined, { kind: "contradict" }],
  ["changed on the old side", { from: B, to: A }, A, undefined, FROM],
  ["changed on the new side", { from: A, to: B }, A, undefined, TO],
  ["changed on both", { from: B, to: `${B.slice(0, -1)},"SubnetLen":26}` }, A, undefined, { kind: "contradict" }],
  ["nothing to copy", { from: undefined, to: undefined }, undefined, undefined, { kind: "gone", side: "from" }],
  ["the stores are swapped", { from: undefined, to: A }, undefined, undefined, { kind: "gone", side: "from" }],
  ["the old side was taken away", { from: undefined, to: A }, A, undefined, { kind: "gone", side: "from" }],
  ["the new side was taken away", { from: A, to: undefined }, A, undefined, { kind: "gone", side: "to" }],
  ["the old side lost its data", { from: undefined, to: A }, A, "from", TO],
  ["the new side lost its data", { from: A, to: undefined }, A, "to", FROM],
])("configState: %s", (_, texts, agreed, lost, state) => {
  expect(configState(texts, agreed, lost)).toEqual(state);
});
