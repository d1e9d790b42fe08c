import { expect, test } from "bun:test";
import { HeldOver } from "./held_over.ts";
import type { Change, RegistryEntry, Revision, Snapshot } from "./registry.ts";

const GRACE_MS = 1000;

function entry(n: number, publicIp = `192.0.2.${n}`): RegistryEntry {
  const value = JSON.stringify({ PublicIP: publicIp });
  return { key: `10.5.${n}.0-24`, value, reserved: false, expiresAt: undefined, revision: "1" as Revision };
}

function snapshot(history: string, ...entries: RegistryEntry[]): Snapshot {
  return { entries, revision: "1" as Revision, history };
}

function put(made: RegistryEntry): Change {
  return { kind: "put", entry: made };
}

/** Leases 1, 2 and 3 in the first life of a store, 1 being this node's own; then what the second life says. */
function lost(...second: RegistryEntry[]) {
  const losses: number[] = [];
  const time = { now: 0 };
  const heldOver = new HeldOver(
    GRACE_MS,
    () => time.now,
    (missing) => losses.push(missing),
  );
  const isOwn = ({ key }: RegistryEntry) => key === entry(1).key;
  const whole = (made: Snapshot) => heldOver.whole(made, isOwn).map(({ key }) => key);
  whole(snapshot("a", entry(1), entry(2), entry(3)));
  const keys = whole(snapshot("b", ...second));
  return { heldOver, whole, keys, losses, time };
}

const keysOf = (entries: readonly RegistryEntry[]) => entries.map(({ key }) => key);
const told = (changes: readonly Change[]) =>
  changes.map((change) => `${change.kind} ${change.kind === "put" ? change.entry.key : change.key}`);

test("what is missing from the same life of the store was removed", () => {
  const { whole, losses } = lost(entry(1), entry(2), entry(3));
  expect(whole(snapshot("b", entry(1), entry(3)))).toEqual(["10.5.1.0-24", "10.5.3.0-24"]);
  expect(losses).toEqual([]);
});

test("what is missing from another life is held over, after what is there; one's own lease is not", () => {
  const { heldOver, keys, losses } = lost(entry(3));
  expect(keys).toEqual(["10.5.3.0-24", "10.5.2.0-24"]);
  expect(keysOf(heldOver.entries)).toEqual(["10.5.2.0-24"]);
  expect(losses).toEqual([1]);
});

test("a lease that is back is held over no longer, and then can be removed", () => {
  const { heldOver, whole } = lost();
  expect(told(heldOver.apply([put(entry(2))]))).toEqual(["put 10.5.2.0-24"]);
  expect(keysOf(heldOver.entries)).toEqual(["10.5.3.0-24"]);
  expect(told(heldOver.apply([{ kind: "remove", key: entry(2).key }]))).toEqual(["remove 10.5.2.0-24"]);
  expect(whole(snapshot("b"))).toEqual(["10.5.3.0-24"]);
});

test.each<[string, RegistryEntry, string]>([
  ["a lease that has part of the subnet", { ...entry(9), key: "10.5.2.128-25" }, "remove 10.5.2.0-24"],
  ["another lease of the same node", entry(9, "192.0.2.2"), "remove 10.5.2.0-24"],
])("%s takes the place of one held over", (_title, made, removal) => {
  const { heldOver } = lost();
  expect(told(heldOver.apply([put(made)]))).toEqual([removal, `put ${made.key}`]);
  expect(keysOf(heldOver.entries)).toEqual(["10.5.3.0-24"]);
});

test("those that do not come back go when the grace is over, also after a second loss", () => {
  const { heldOver, whole, time } = lost(entry(2));
  time.now = 400;
  expect(heldOver.remainingMs).toBe(600);
  whole(snapshot("c"));
  expect(heldOver.expire()).toEqual([]);
  time.now = 1000;
  expect(told(heldOver.expire())).toEqual(["remove 10.5.3.0-24"]);
  expect(heldOver.remainingMs).toBe(400);
  time.now = 1400;
  expect(told(heldOver.expire())).toEqual(["remove 10.5.2.0-24"]);
  expect(heldOver.remainingMs).toBeUndefined();
});
