// The lease sets that a manager yields, over an embedded store of its own: whole, in step with the store, and as they were while it is silent or out of its mind.

import { describe, expect, test } from "bun:test";
import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { config, intercept, node, request, subnets, until } from "../../test/store/manager_fixture.ts";
import {
  controller,
  directory,
  events,
  manager,
  NETWORK,
  put,
  registry,
  signal,
  useManagers,
} from "../../test/store/manager_world.ts";
import type { LeaseSet } from "../lease/set.ts";
import { EmbeddedRegistry } from "./embedded.ts";
import type { Registry } from "./registry.ts";
import { StoreError } from "./store_error.ts";

useManagers();

describe("leaseSets", () => {
  async function follow(over: Registry) {
    const one = manager(over, { random: () => 0 });
    const own = await one.acquire(config(NETWORK), request(node("192.0.2.1")), signal);
    const networks = subnets("10.5.0.0/16");
    const sets = one.leaseSets({ networks, own, hostAddresses: new Set() }, signal)[Symbol.asyncIterator]();
    const next = async () => {
      const { value, done } = await sets.next();
      return done ? undefined : [...(value as LeaseSet).leases.keys()].map(String);
    };
    return { next, own };
  }

  test("a start reads the whole store and a watch that breaks does not read it again", async () => {
    const store = await registry();
    await put(store, "10.5.7.0-24", "192.0.2.7", 60_000);
    let reads = 0;
    let breaks = 2;
    const counted = intercept(await registry(), "entries", async () => {
      reads++;
    });
    const flaky = intercept(counted, "watch", async () => {
      if (breaks-- > 0) throw new StoreError("unreachable", "test", "the watch broke");
    });
    const one = manager(flaky, { random: () => 0 });
    await one.remembered(node("192.0.2.1").publicIp, signal);
    const own = await one.acquire(config(NETWORK), request(node("192.0.2.1")), signal);
    const context = { networks: subnets("10.5.0.0/16"), own, hostAddresses: new Set<never>() };
    const sets = one.leaseSets(context, signal)[Symbol.asyncIterator]();
    expect((await sets.next()).value?.leases.size).toBe(1);
    const next = sets.next();
    await until(() => breaks < 0);
    await put(store, "10.5.8.0-24", "192.0.2.8", 60_000);
    expect((await next).value?.leases.size).toBe(2);
    expect(reads).toBe(1);
  });

  test("yields the whole first, then each change; a renewal is none", async () => {
    const store = await registry();
    const peer = await put(store, "10.5.7.0-24", "192.0.2.7", 60_000);
    const { next } = await follow(await registry());
    expect(await next()).toEqual(["10.5.7.0-24"]);
    const following = next();
    await store.renew(peer, 120_000, signal);
    await Bun.sleep(30);
    await put(store, "10.5.8.0-24", "192.0.2.8", 150);
    expect(await following).toEqual(["10.5.7.0-24", "10.5.8.0-24"]);
    expect(await next()).toEqual(["10.5.7.0-24"]); // its 150 ms are over
    await store.remove(peer, signal);
    expect(await next()).toEqual([]);
    const last = next();
    controller.abort();
    expect(await last).toBeUndefined();
  });

  test("a store out of reach is silence; what changed meanwhile comes when it answers", async () => {
    const store = await registry();
    await put(store, "10.5.7.0-24", "192.0.2.7", 60_000);
    let reachable = true;
    const check = async () => {
      if (!reachable) throw new StoreError("unreachable", "test", "no answer");
    };
    const flaky = intercept(intercept(await registry(), "entries", check), "watch", check);
    const { next } = await follow(flaky);
    expect(await next()).toEqual(["10.5.7.0-24"]);
    reachable = false;
    const following = next();
    await until(() => events.some(({ kind }) => kind === "store failing"));
    await put(store, "10.5.8.0-24", "192.0.2.8", 60_000);
    reachable = true;
    expect(await following).toEqual(["10.5.7.0-24", "10.5.8.0-24"]);
    expect(events.filter(({ kind }) => kind.startsWith("store")).map(({ kind }) => kind)).toEqual([
      "store failing",
      "store recovered",
    ]);
  });
});

describe("a store that lost its data", () => {
  test("keeps its leases in force until they are back, their place is taken, or the grace is over", async () => {
    const store = await registry();
    for (const n of [7, 8, 9]) await put(store, `10.5.${n}.0-24`, `192.0.2.${n}`, 60_000);
    const one = manager(await registry(), { random: () => 0, lossGraceMs: 500 });
    const own = await one.acquire(config(NETWORK), request(node("192.0.2.1")), signal);
    const context = { networks: subnets("10.5.0.0/16"), own, hostAddresses: new Set<never>() };
    const sets: string[] = [];
    const following = (async () => {
      for await (const set of one.leaseSets(context, signal)) sets.push([...set.leases.keys()].sort().join(" "));
    })();
    await until(() => sets.length === 1);

    const path = join(directory, "store.db");
    const empty = await EmbeddedRegistry.open(join(directory, "new.db"), {}, signal);
    empty[Symbol.dispose]();
    for (const end of ["-wal", "-shm"]) rmSync(path + end, { force: true });
    renameSync(join(directory, "new.db"), path);
    const anew = await registry();
    await until(() => events.some(({ kind }) => kind === "data lost"));
    await put(anew, "10.5.8.0-24", "192.0.2.8", 60_000);
    await put(anew, "10.5.50.0-24", "192.0.2.9", 60_000);
    await until(() => sets.at(-1) === "10.5.50.0-24 10.5.8.0-24");
    controller.abort();
    await following;
    expect(sets).toEqual([
      "10.5.7.0-24 10.5.8.0-24 10.5.9.0-24",
      "10.5.50.0-24 10.5.7.0-24 10.5.8.0-24",
      "10.5.50.0-24 10.5.8.0-24",
    ]);
    expect(events.filter(({ kind }) => kind === "data lost" || kind === "given up")).toEqual([
      { kind: "data lost", missing: 3, graceMs: 500 },
      { kind: "given up", keys: ["10.5.7.0-24"] },
    ]);
  });
});
