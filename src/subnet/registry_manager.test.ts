// The manager's rules, over an embedded store of its own; races between processes are in test/store.

import { describe, expect, test } from "bun:test";
import { config, intercept, node, once, request, subnets, until } from "../../test/store/manager_fixture.ts";
import {
  controller,
  events,
  keysIn,
  manager,
  NETWORK,
  put,
  registry,
  signal,
  useManagers,
} from "../../test/store/manager_world.ts";
import { formatLeaseAttributes } from "../lease/attributes.ts";
import type { LeaseAttributes } from "../lease/lease.ts";
import type { Registry, RegistryEntry } from "./registry.ts";
import { StoreError } from "./store_error.ts";

const SMALL = '{"Network":"10.5.0.0/16","SubnetMin":"10.5.1.0","SubnetMax":"10.5.3.0","Backend":{"Type":"vxlan"}}';
const DUAL = '{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48","Backend":{"Type":"vxlan"}}';
const IPV6 = '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00::/48","Backend":{"Type":"vxlan"}}';

useManagers();

describe("networkConfig", () => {
  test("waits for the configuration and tells once what for", async () => {
    const store = await registry();
    const told: string[] = [];
    const waiting = manager(store).networkConfig(signal, (reason) => told.push(reason));
    await Bun.sleep(20);
    await (await registry()).setConfig(NETWORK, signal);
    expect((await waiting).ranges.ipv4?.network).toBe(subnets("10.5.0.0/16").ipv4);
    expect(told).toEqual([`${store.description} holds no network configuration yet`]);
  });

  test("a wrong one is an error that says where", async () => {
    const store = await registry();
    await store.setConfig('{"Network":"nonsense"}', signal);
    const reading = manager(store).networkConfig(signal, () => {});
    await expect(reading).rejects.toThrow(`${store.description}: config: Network: got "nonsense"`);
  });

  test("an abort ends the wait", async () => {
    const waiting = manager(await registry()).networkConfig(signal, () => {});
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
  });
});

describe("acquire", () => {
  const rows: [string, string, LeaseAttributes, string][] = [
    ["IPv4", NETWORK, node("192.0.2.1"), "10.5.1.0-24"],
    ["dual stack", DUAL, node("192.0.2.1", "2001:db8::1"), "10.5.1.0-24&fd00:0:0:1::-64"],
    ["IPv6 alone", IPV6, node("2001:db8::1"), "fd00:0:0:1::-64"],
  ];
  test.each(rows)("%s takes a free subnet, is found again by its public IP and keeps it", async (...row) => {
    const [, text, attributes, key] = row;
    const store = await registry();
    const first = await manager(store, { random: () => 0 }).acquire(config(text), request(attributes), signal);
    expect(first.key as string).toBe(key);
    expect(first.expiresAt).toBeGreaterThan(0);
    const again = manager(await registry());
    expect(await again.remembered(attributes.publicIp, signal)).toEqual(attributes);
    expect((await again.acquire(config(text), request(attributes), signal)).key).toBe(first.key);
    expect(await keysIn(store)).toEqual([key]);
  });

  test("prefers what subnet.env remembers when it is right and free", async () => {
    const store = await registry();
    await put(store, "10.5.7.0-24", "192.0.2.7", 60_000);
    const lease = (publicIp: string, previous: string) =>
      manager(store, { random: () => 0 }).acquire(config(NETWORK), request(node(publicIp), previous), signal);
    expect((await lease("192.0.2.1", "10.5.42.0/24")).key as string).toBe("10.5.42.0-24");
    expect((await lease("192.0.2.2", "10.5.7.0/24")).key as string).toBe("10.5.1.0-24");
    expect((await lease("192.0.2.3", "10.6.9.0/24")).key as string).toBe("10.5.2.0-24");
  });

  test("changed data, and a changed public IP, update the lease in place", async () => {
    const store = await registry();
    const one = manager(store);
    const first = await one.acquire(config(NETWORK), request(node("192.0.2.1")), signal);
    const moved = { ...node("192.0.2.99"), backendData: { ipv4: { VNI: 2 } } };
    const second = await one.acquire(config(NETWORK), request(moved), signal);
    expect(second.key).toBe(first.key);
    const { entries } = await store.entries(signal);
    expect(entries.map(({ value }) => value)).toEqual([formatLeaseAttributes(moved)]);
  });

  test("a reservation stays one, for ever", async () => {
    const store = await registry();
    await put(store, "10.5.77.0-24", "192.0.2.1", undefined);
    const moved = { ...node("192.0.2.1"), backendData: { ipv4: { VNI: 2 } } };
    for (const attributes of [node("192.0.2.1"), moved]) {
      const lease = await manager(store).acquire(config(NETWORK), request(attributes), signal);
      expect(lease).toMatchObject({ key: "10.5.77.0-24", expiresAt: undefined });
    }
    expect((await store.entries(signal)).entries).toMatchObject([{ expiresAt: undefined }]);
  });

  test("a lease that no longer fits goes, once another stands", async () => {
    const store = await registry();
    await put(store, "10.9.1.0-24", "192.0.2.1", 60_000);
    const lease = await manager(store, { random: () => 0 }).acquire(
      config(NETWORK),
      request(node("192.0.2.1")),
      signal,
    );
    expect(await keysIn(store)).toEqual([lease.key]);
    expect(events).toContainEqual({ kind: "unfit lease", key: "10.9.1.0-24", removed: true });
  });

  test("a reservation that no longer fits stays an operator's affair", async () => {
    const store = await registry();
    await put(store, "10.9.1.0-24", "192.0.2.1", undefined);
    const lease = await manager(store, { random: () => 0 }).acquire(
      config(NETWORK),
      request(node("192.0.2.1")),
      signal,
    );
    expect(lease.expiresAt).toBeGreaterThan(0);
    expect(await keysIn(store)).toEqual(["10.9.1.0-24", lease.key]);
    expect(events).toContainEqual({ kind: "unfit lease", key: "10.9.1.0-24", removed: false });
  });

  test("a reservation of one family is carried into dual stack", async () => {
    const store = await registry();
    await put(store, "10.5.77.0-24", "192.0.2.1", undefined);
    const both = node("192.0.2.1", "2001:db8::1");
    const lease = await manager(store, { random: () => 0 }).acquire(config(DUAL), request(both), signal);
    expect(lease).toMatchObject({ key: "10.5.77.0-24&fd00:0:0:1::-64", expiresAt: undefined });
    expect(await keysIn(store)).toEqual([lease.key]);
  });

  test("a full range says of what, how many, and who holds them", async () => {
    const store = await registry();
    await put(store, "10.5.1.0-24", "192.0.2.7", 60_000);
    await put(store, "10.5.2.0-24", "192.0.2.7", 60_000);
    await put(store, "10.5.3.0-24", "192.0.2.8", undefined);
    const acquiring = manager(store).acquire(config(SMALL), request(node("192.0.2.1")), signal);
    const error = await acquiring.catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: "StoreError", reason: "full" });
    expect((error as StoreError).message).toBe(
      "cannot lease a subnet of 10.5.0.0/16: all 3 subnets 10.5.1.0/24 to 10.5.3.0/24 are taken (192.0.2.7 holds 2, " +
        "192.0.2.8 holds 1, 1 of all are reserved); remove leases of nodes that are gone, or widen the range in the " +
        "network configuration",
    );
  });

  test("who created the later of two overlapping leases gives way", async () => {
    const store = await registry();
    // Another node takes the IPv4 half with another IPv6 half, between this node's look and its create.
    const raced = intercept(
      store,
      "create",
      once(() => put(store, "10.5.1.0-24&fd00:0:0:9::-64", "192.0.2.9", 60_000)),
    );
    const both = node("192.0.2.1", "2001:db8::1");
    const lease = await manager(raced, { random: () => 0 }).acquire(config(DUAL), request(both), signal);
    expect(lease.key as string).toBe("10.5.2.0-24&fd00:0:0:1::-64");
    expect(await keysIn(store)).toEqual(["10.5.1.0-24&fd00:0:0:9::-64", lease.key]);
    expect(events).toEqual([{ kind: "contended", key: "10.5.1.0-24&fd00:0:0:1::-64" }]);
  });

  test("a range that is full only until one of two rivals gives way is looked at again", async () => {
    const store = await registry();
    await put(store, "10.5.1.0-24&fd00:0:0:1::-64", "192.0.2.8", 60_000);
    const rival = await put(store, "10.5.1.0-24&fd00:0:0:2::-64", "192.0.2.9", 60_000);
    let looks = 0;
    const watched = intercept(store, "entries", async () => {
      if (++looks === 3) await store.remove(rival, signal);
    });
    const two = `${DUAL.slice(0, -1)},"SubnetMax":"10.5.2.0","IPv6SubnetMax":"fd00:0:0:2::"}`;
    const both = node("192.0.2.1", "2001:db8::1");
    const lease = await manager(watched).acquire(config(two), request(both), signal);
    expect(lease.key as string).toBe("10.5.2.0-24&fd00:0:0:2::-64");
  });

  test("a key that another node creates first is left to it", async () => {
    const store = await registry();
    const raced = intercept(
      store,
      "create",
      once(() => put(store, "10.5.1.0-24", "192.0.2.9", 60_000)),
    );
    const lease = await manager(raced, { random: () => 0 }).acquire(
      config(NETWORK),
      request(node("192.0.2.1")),
      signal,
    );
    expect(lease.key as string).toBe("10.5.2.0-24");
  });

  test("a store that does not answer is tried until it does, and told of once", async () => {
    const store = await registry();
    let failures = 3;
    const flaky = intercept(store, "entries", async () => {
      if (failures-- > 0) throw new StoreError("unreachable", "test", "no answer");
    });
    await manager(flaky).acquire(config(NETWORK), request(node("192.0.2.1")), signal);
    expect(events.map(({ kind }) => kind)).toEqual(["store failing", "store recovered"]);
    expect(events[1]).toEqual({ kind: "store recovered", failures: 3 });
  });
});

describe("keep", () => {
  const short = { ttlMs: 400, renewMarginMs: 250 };

  test("renews before the end, by a clock that the wall clock does not move", async () => {
    const store = await registry();
    const one = manager(store, short);
    const own = await one.acquire(config(NETWORK), request(node("192.0.2.1")), signal);
    const kept = one.keep(own, signal);
    await Bun.sleep(1000);
    expect(await keysIn(store)).toEqual([own.key]);
    expect(events.filter(({ kind }) => kind === "renewed").length).toBeGreaterThanOrEqual(2);
    controller.abort();
    expect(await kept).toBe("stopped");
  });

  test("a reservation is never renewed", async () => {
    const store = await registry();
    await put(store, "10.5.77.0-24", "192.0.2.1", undefined);
    const one = manager(store, { ttlMs: 100, renewMarginMs: 50 });
    const own = await one.acquire(config(NETWORK), request(node("192.0.2.1")), signal);
    const kept = one.keep(own, signal);
    await Bun.sleep(300);
    expect(events).toEqual([]);
    controller.abort();
    expect(await kept).toBe("stopped");
  });

  const losses: [string, (store: Registry, entry: RegistryEntry) => Promise<unknown>][] = [
    ["it is removed", (store, entry) => store.remove(entry, signal)],
    [
      "another node has it",
      (store, entry) => store.replace(entry, formatLeaseAttributes(node("192.0.2.9")), 9000, signal),
    ],
  ];
  test.each(losses)("is lost as soon as %s", async (_title, lose) => {
    const store = await registry();
    const one = manager(await registry());
    const own = await one.acquire(config(NETWORK), request(node("192.0.2.1")), signal);
    const kept = one.keep(own, signal);
    await Bun.sleep(20);
    const { entry } = await store.entry(own.key, signal);
    if (entry) await lose(store, entry);
    expect(await kept).toBe("lost");
  });

  test("our own change of data or public IP is no loss", async () => {
    const one = manager(await registry());
    const own = await one.acquire(config(NETWORK), request(node("192.0.2.1")), signal);
    const kept = one.keep(own, signal);
    await Bun.sleep(20);
    await one.acquire(config(NETWORK), request(node("192.0.2.99")), signal);
    const first = await Promise.race([kept, Bun.sleep(100)]);
    expect(first).toBeUndefined();
    controller.abort();
    expect(await kept).toBe("stopped");
  });

  test("a store that cannot renew is tried until it can", async () => {
    const store = await registry();
    let failures = 3;
    const flaky = intercept(store, "renew", async () => {
      if (failures-- > 0) throw new StoreError("unreachable", "test", "no answer");
    });
    const one = manager(flaky, { ...short, retry: { firstMs: 5, maxMs: 10 } });
    const own = await one.acquire(config(NETWORK), request(node("192.0.2.1")), signal);
    const kept = one.keep(own, signal);
    await until(() => events.some(({ kind }) => kind === "renewed"));
    expect(failures).toBe(-1);
    expect(await keysIn(store)).toEqual([own.key]);
    controller.abort();
    expect(await kept).toBe("stopped");
  });
});
