import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findState, listStates, removeState, removeUnfinished, writeState } from "./state.ts";

let root: string;
let dataDir: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "flannel-state-"));
  dataDir = join(root, "flannel");
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

const raw = { type: "bridge", name: "cbr0", mtu: 1450, ipam: { type: "host-local", dataDir: "/d" } };
const eth0 = { containerId: "abc", ifname: "eth0" };
const net1 = { containerId: "abc", ifname: "net1" };

test("writeState writes upstream's file and modes, keys as Go sorts them", () => {
  writeState(dataDir, eth0, raw);
  expect(readFileSync(join(dataDir, "abc"), "utf8")).toBe(
    '{"flannelAttachment":{"containerID":"abc","ifname":"eth0"},"ipam":{"dataDir":"/d","type":"host-local"},"mtu":1450,"name":"cbr0","type":"bridge"}',
  );
  expect([statSync(dataDir).mode & 0o777, statSync(join(dataDir, "abc")).mode & 0o777]).toEqual([0o700, 0o600]);
  expect(findState(dataDir, eth0)?.raw).toEqual(raw);
});

test("a second attachment has a file of its own, and neither is found for the other", () => {
  writeState(dataDir, eth0, raw);
  writeState(dataDir, net1, { ...raw, name: "other" });
  writeState(dataDir, eth0, { ...raw, mtu: 1400 });
  expect(readdirSync(dataDir).sort()).toEqual(["abc", "abc-net1"]);
  expect(findState(dataDir, eth0)?.raw).toMatchObject({ name: "cbr0", mtu: 1400 });
  const second = findState(dataDir, net1);
  expect(second?.raw).toMatchObject({ name: "other" });
  if (second) removeState(second);
  expect(findState(dataDir, net1)).toBeUndefined();
  expect(findState(dataDir, eth0)).toBeDefined();
});

test("a file of upstream's plugin is found for any interface, and not overwritten by another", () => {
  writeState(dataDir, { containerId: "other", ifname: "eth0" }, raw);
  writeFileSync(join(dataDir, "abc"), '{"type":"bridge","name":"cbr0"}');
  expect(findState(dataDir, net1)).toMatchObject({ raw: { type: "bridge" }, attachment: undefined });
  writeState(dataDir, net1, raw);
  expect(readdirSync(dataDir).sort()).toEqual(["abc", "abc-net1", "other"]);
});

test.each(["", "{", "[]", "{}", '{"type":7}', '{"type":"bri'])("a file of %j has no configuration", (text) => {
  writeState(dataDir, eth0, raw);
  writeFileSync(join(dataDir, "abc"), text);
  expect(findState(dataDir, eth0)).toEqual({ path: join(dataDir, "abc"), raw: undefined, attachment: undefined });
  writeState(dataDir, eth0, raw);
  expect(readdirSync(dataDir)).toEqual(["abc"]);
});

test("what a killed writer left is no state, is listed, and goes with the attachment", () => {
  writeState(dataDir, eth0, raw);
  writeFileSync(join(dataDir, ".abc-net1"), '{"typ');
  expect(findState(dataDir, net1)).toBeUndefined();
  const { states, unfinished } = listStates(dataDir);
  expect([states.map(({ attachment }) => attachment), unfinished]).toEqual([[eth0], [join(dataDir, ".abc-net1")]]);
  removeUnfinished(dataDir, net1);
  expect(readdirSync(dataDir)).toEqual(["abc"]);
});

test("a directory that is not there holds nothing, and one that is a file is an error with code 5", () => {
  expect(listStates(dataDir)).toEqual({ states: [], unfinished: [] });
  writeFileSync(dataDir, "");
  expect(() => writeState(dataDir, eth0, raw)).toThrow(expect.objectContaining({ code: 5 }));
});
