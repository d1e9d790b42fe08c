// The migration between two stores, with real stores and the subnet manager of real nodes; only the clock is the test's.

import { afterEach, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { differences } from "../../src/ctl/migrate/difference.ts";
import { keepInStep } from "../../src/ctl/migrate/keep_in_step.ts";
import type { Side } from "../../src/ctl/migrate/reconcile.ts";
import { createSubnetManager } from "../../src/subnet/registry_manager.ts";
import { until } from "./manager_fixture.ts";
import { CONFIG, HOUR, MINUTE, TwoStores } from "./migration_fixture.ts";

const cleanup: TwoStores[] = [];
afterEach(() => {
  for (const stores of cleanup.splice(0)) stores[Symbol.dispose]();
});

async function open(hidden: Side | "none" = "to"): Promise<TwoStores> {
  const stores = await TwoStores.open({ hidden });
  cleanup.push(stores);
  return stores;
}

async function expectInStep(stores: TwoStores): Promise<void> {
  expect(await stores.content("to")).toEqual(await stores.content("from"));
}

test("leases and reservations are copied byte for byte, and the configuration after them", async () => {
  const stores = await open();
  for (const n of [1, 2, 3]) await stores.acquire("from", `192.0.2.${n}`);
  const odd = '{ "PublicIP" : "192.0.2.9", "BackendType":"vxlan" }';
  await stores.on("from").create("10.5.200.0-24", odd, undefined, stores.signal);
  let atConfig: string[] | undefined;
  const to = stores.on("to");
  const { revision } = await to.config(stores.signal);
  const told = (async () => {
    for await (const { text } of to.watchConfig(revision, stores.signal)) {
      atConfig = await stores.content("to");
      return text;
    }
    return undefined;
  })();
  const { owned, reserved } = await stores.inStep(stores.migration());
  expect(await told).toBe(CONFIG);
  expect(atConfig).toEqual(await stores.content("from"));
  expect(atConfig).toContain(`10.5.200.0-24 ${odd} reserved`);
  expect({ from: owned.from.length, to: owned.to.length, reserved }).toEqual({ from: 3, to: 0, reserved: 1 });
});

test.each(["from", "to"] as const)("a copy lives as long as its node on %s renews, and no longer", async (side) => {
  const stores = await open();
  const migration = stores.migration();
  const other = side === "from" ? "to" : "from";
  const { key } = await stores.acquire(side, "192.0.2.1");
  await stores.inStep(migration);
  expect(await stores.left(other, key)).toBe(24 * 60 - 1);
  stores.pass(20 * HOUR);
  await stores.inStep(migration);
  expect(await stores.left(other, key)).toBe(4 * 60 - 1);
  await stores.acquire(side, "192.0.2.1");
  await stores.inStep(migration);
  expect(await stores.left(other, key)).toBe(24 * 60 - 1);
  stores.pass(24 * HOUR + MINUTE);
  await stores.inStep(migration);
  expect(await stores.content(other)).toEqual([]);
});

test("what is removed on its node's side goes at once; a copy that is removed comes back", async () => {
  const stores = await open();
  const migration = stores.migration();
  const { key } = await stores.acquire("from", "192.0.2.1");
  await stores.inStep(migration);
  const copy = await stores.entry("to", key);
  if (copy) await stores.on("to").remove(copy, stores.signal);
  await stores.inStep(migration);
  expect(await stores.left("to", key)).toBe(24 * 60 - 1);
  const origin = await stores.entry("from", key);
  if (origin) await stores.on("from").remove(origin, stores.signal);
  await stores.inStep(migration);
  expect(await stores.content("to")).toEqual([]);
});

test.each([
  ["that writes the same value", 1, 10 * HOUR],
  ["that writes another value", 2, 10 * HOUR],
  ["that moves seconds after a renewal", 1, 5_000],
])("a node %s keeps its subnet, and its old side's nodes see it for as long as it lives", async (_, vni, afterMs) => {
  const stores = await open();
  const migration = stores.migration();
  const before = await stores.acquire("from", "192.0.2.1");
  await stores.inStep(migration);
  stores.pass(afterMs);
  const after = await stores.acquire("to", "192.0.2.1", vni);
  expect(after.key).toBe(before.key);
  const { owned } = await stores.inStep(migration);
  expect(owned).toEqual({ from: [], to: [before.key] });
  expect((await stores.inStep(migration)).owned).toEqual(owned);
  await expectInStep(stores);
  for (let day = 0; day < 3; day++) {
    stores.pass(23 * HOUR);
    await stores.acquire("to", "192.0.2.1", vni);
    await stores.inStep(migration);
    expect(await stores.left("from", before.key)).toBe(24 * 60 - 1);
  }
  // The same, seen by a migration that has no memory of the move.
  expect((await stores.inStep(stores.migration())).owned.to).toEqual([before.key]);
});

test("two nodes that took one subnet at the same time: the old side's node learns of it and takes another", async () => {
  const stores = await open();
  const key = "10.5.1.0-24";
  for (const side of ["from", "to"] as const)
    await stores.on(side).create(key, leaseOf(side === "from" ? 1 : 2), 24 * HOUR, stores.signal);
  const manager = createSubnetManager(stores.on("from"));
  const own = await stores.acquire("from", "192.0.2.1");
  expect(own.key as string).toBe(key);
  const kept = manager.keep(own, stores.signal);
  const migration = stores.migration();
  await stores.inStep(migration);
  expect(await kept).toBe("lost");
  expect((await stores.entry("from", key))?.value).toBe(leaseOf(2));
  const again = await stores.acquire("from", "192.0.2.1");
  expect(again.key as string).not.toBe(key);
  await stores.inStep(migration);
  await expectInStep(stores);
});

test("a reservation stays one, on whichever side it is made or taken back", async () => {
  const stores = await open();
  const migration = stores.migration();
  const { key } = await stores.acquire("from", "192.0.2.1");
  await stores.inStep(migration);
  const copy = await stores.entry("to", key);
  if (!copy) throw new Error("no copy");
  await stores.on("to").replace(copy, copy.value, undefined, stores.signal);
  await stores.inStep(migration);
  expect(await stores.left("from", key)).toBe(Number.POSITIVE_INFINITY);
  stores.pass(1000 * HOUR);
  await stores.inStep(stores.migration());
  await expectInStep(stores);
  await stores.inStep(migration);
  const origin = await stores.entry("from", key);
  if (origin) await stores.on("from").remove(origin, stores.signal);
  await stores.inStep(migration);
  expect(await stores.content("to")).toEqual([]);
});

test("a store that lost its data is filled again from the other, and nothing is removed there", async () => {
  const stores = await open("none");
  const migration = stores.migration();
  for (const n of [1, 2]) await stores.acquire("from", `192.0.2.${n}`);
  await stores.inStep(migration);
  const before = await stores.content("to");
  rmSync(stores.path("from"));
  for (const ending of ["-wal", "-shm"]) rmSync(`${stores.path("from")}${ending}`, { force: true });
  writeFileSync(stores.path("from"), "");
  await stores.inStep(migration);
  expect(await stores.content("to")).toEqual(before);
  expect(await stores.content("from")).toEqual(before);
  expect((await stores.on("from").config(stores.signal)).text).toBe(CONFIG);
  expect(stores.events.filter(({ kind }) => kind === "data lost")).toEqual([{ kind: "data lost", side: "from" }]);
});

test.each(["from", "to"] as const)(
  "a side that is taken away ends the migration, and costs the other nothing: %s",
  async (side) => {
    const stores = await open("none");
    const migration = stores.migration();
    await stores.acquire("from", "192.0.2.1");
    await stores.acquire("to", "192.0.2.2");
    await stores.inStep(migration);
    const other = side === "from" ? "to" : "from";
    const before = await stores.content(other);
    expect(before).toHaveLength(2);
    stores.takeAway(side);
    await expect(stores.inStep(migration)).rejects.toThrow("holds no network configuration any more");
    expect(await stores.content(other)).toEqual(before);
  },
);

test("nothing to migrate is told", async () => {
  const stores = await open();
  stores.takeAway("from");
  await expect(stores.inStep(stores.migration())).rejects.toThrow("are --from and --to the right way round");
});

test("configurations that differ are told and not overwritten; later changes go to the other side", async () => {
  const stores = await open();
  const other = '{"Network":"10.6.0.0/16"}';
  await stores.on("to").setConfig(other, stores.signal);
  await stores.acquire("from", "192.0.2.1");
  await expect(stores.inStep(stores.migration())).rejects.toThrow("hold different ones");
  expect((await stores.on("to").config(stores.signal)).text).toBe(other);
  expect(await stores.content("to")).toEqual([]);
  await stores.on("to").setConfig(`${CONFIG}\n`, stores.signal);
  const migration = stores.migration();
  await stores.inStep(migration); // only spaces differ
  await stores.on("to").setConfig(other, stores.signal);
  await stores.inStep(migration);
  expect((await stores.on("from").config(stores.signal)).text).toBe(other);
});

test("whenever it is killed and started again, every living node keeps its subnet and is seen on both sides", async () => {
  const stores = await open();
  const random = sequence(20);
  const keys = new Map<number, string>();
  const sides = new Map<number, Side>();
  const seenAt = new Map<number, number>();
  let migration = stores.migration();
  await stores.inStep(migration);
  for (let round = 0; round < 120; round++) {
    const n = 1 + Math.floor(random() * 8);
    const publicIp = `192.0.2.${n}`;
    const what = random();
    if (what < 0.7) {
      // A start, a renewal, or a move to the new side; never back while its lease there lives.
      const side = sides.get(n) === "to" || random() < 0.3 ? "to" : "from";
      const { key } = await stores.acquire(side, publicIp, round % 3);
      const alive = stores.now - (seenAt.get(n) ?? 0) < 20 * HOUR;
      if (alive) expect([round, n, key as string]).toEqual([round, n, keys.get(n) ?? key]);
      keys.set(n, key);
      sides.set(n, side);
      seenAt.set(n, stores.now);
    } else if (what < 0.85) migration = stores.migration();
    stores.pass(random() * 2 * HOUR);
    // Killed after its first write, now and then.
    if (random() < 0.3) {
      const killed = new AbortController();
      stores.onEvent = () => killed.abort(new Error("killed"));
      migration = stores.migration();
      await migration.pass(true, killed.signal).catch(() => {});
      stores.onEvent = () => {};
      migration = stores.migration();
    } else await stores.inStep(migration);
    if (round % 5 === 0) {
      await stores.inStep(migration);
      await expectInStep(stores);
      const content = (await stores.content("to")).join("\n");
      for (const [node, at] of seenAt) {
        if (stores.now - at < 20 * HOUR) expect(content).toContain(`"192.0.2.${node}"`);
        if (stores.now - at > 24 * HOUR) expect(content).not.toContain(`"192.0.2.${node}"`);
      }
    }
  }
  stores.pass(24 * HOUR);
  await stores.inStep(migration);
  expect(await stores.content("from")).toEqual([]);
  expect(await stores.content("to")).toEqual([]);
});

test("two migrations at once do no harm", async () => {
  const stores = await open();
  const both = [stores.migration(), stores.migration()];
  await stores.inStep(both[0] ?? stores.migration());
  const keys = new Map<number, string>();
  for (let round = 0; round < 30; round++) {
    for (const n of [1, 2, 3]) {
      const { key } = await stores.acquire(round > 10 * n ? "to" : "from", `192.0.2.${n}`, round % 2);
      expect(key as string).toBe(keys.get(n) ?? key);
      keys.set(n, key);
    }
    await Promise.all(both.map((migration) => stores.inStep(migration)));
    await expectInStep(stores);
    stores.pass(3 * HOUR);
  }
  stores.pass(24 * HOUR);
  await Promise.all(both.map((migration) => stores.inStep(migration)));
  expect([await stores.content("from"), await stores.content("to")]).toEqual([[], []]);
});

test("keepInStep: what either side's nodes do appears on the other by itself", async () => {
  const stores = await open();
  const controller = new AbortController();
  const timing = { scanMs: 60_000, burstMs: 1, firstRetryMs: 5, maxRetryMs: 20 };
  let inStep = 0;
  const events = { onInStep: () => void inStep++, onFailing: () => {}, onRecovered: () => {} };
  const registries = [stores.on("from"), stores.on("to")];
  const running = keepInStep(stores.migration(), registries, timing, events, controller.signal);
  await until(() => inStep > 0);
  const has = async (side: Side, key: string) => (await stores.entry(side, key)) !== undefined;
  const one = await stores.acquire("from", "192.0.2.1");
  while (!(await has("to", one.key))) await Bun.sleep(2);
  const two = await stores.acquire("to", "192.0.2.2");
  while (!(await has("from", two.key))) await Bun.sleep(2);
  const origin = await stores.entry("to", two.key);
  if (origin) await stores.on("to").remove(origin, stores.signal);
  while (await has("from", two.key)) await Bun.sleep(2);
  controller.abort(new Error("enough"));
  await expect(running).rejects.toThrow("enough");
  expect(await stores.content("to")).toHaveLength(1);
});

test("differences: names what the other side has not, holds otherwise, or holds for a time only", async () => {
  const entry = (key: string, value: string, reserved = false) => ({
    key,
    value,
    reserved,
    expiresAt: 1,
    revision: "1" as never,
  });
  const from = { config: CONFIG, entries: [entry("a", "1"), entry("b", "1"), entry("c", "1", true), entry("d", "1")] };
  const to = { config: ` ${CONFIG}`, entries: [entry("d", "1"), entry("c", "1"), entry("b", "2"), entry("e", "1")] };
  expect(differences(from, to)).toEqual([
    { kind: "missing", key: "a", on: "to", value: "1" },
    { kind: "value", key: "b", from: "1", to: "2" },
    { kind: "reserved", key: "c", on: "from" },
    { kind: "missing", key: "e", on: "from", value: "1" },
  ]);
  expect(differences(from, { ...from, config: undefined })).toEqual([{ kind: "config", from: CONFIG, to: undefined }]);
});

function leaseOf(n: number): string {
  return `{"PublicIP":"192.0.2.${n}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1}}`;
}

/** The same numbers in [0, 1) every time (mulberry32). */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
