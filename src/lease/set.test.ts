import { describe, expect, test } from "bun:test";
import type { Address } from "../ip/address.ts";
import type { PerFamily } from "../ip/family.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { LeaseKey } from "./key.ts";
import type { Lease } from "./lease.ts";
import { type LeaseSet, LeaseSetBuilder, type StoredLease } from "./set.ts";

const own: Lease = {
  key: "10.5.1.0-24&fd00:0:0:1::-64" as LeaseKey,
  subnet: { ipv4: "10.5.1.0/24" as Prefix, ipv6: "fd00:0:0:1::/64" as Prefix },
  publicIp: { ipv4: "198.51.100.1" as Address, ipv6: "2001:db8::1" as Address },
  backendType: "vxlan",
  backendData: {},
  expiresAt: undefined,
};
const BOTH = { ipv4: "10.5.0.0/16", ipv6: "fd00::/48" } as PerFamily<Prefix>;

function builder(networks: PerFamily<Prefix> = BOTH): LeaseSetBuilder {
  return new LeaseSetBuilder({ networks, own, hostAddresses: new Set(["192.0.2.1" as Address]) });
}

interface Wishes {
  readonly ip?: string;
  readonly mac?: string;
  readonly expiresAt?: number;
}

function stored(key: string, { ip = "192.0.2.2", mac = "02:00:00:00:00:02", expiresAt = 1 }: Wishes = {}): StoredLease {
  const value = { PublicIP: ip, BackendType: "vxlan", BackendData: { VNI: 1, VtepMAC: mac } };
  return { key, value: JSON.stringify(value), expiresAt };
}

function taken(set: LeaseSet | undefined): LeaseSet {
  if (!set) throw new Error("expected a set");
  return set;
}

const keys = (set: LeaseSet) => [...set.leases.keys()] as string[];
const refused = (set: LeaseSet) => Object.fromEntries(set.refused);
const changed = (set: LeaseSet) => [...set.changed] as string[];

describe("refuses", () => {
  test.each([
    ["what is not a lease key", stored("config"), "its key is not a subnet in the form 10.5.2.0-24"],
    ["JSON that does not parse", { ...stored("10.5.2.0-24"), value: "{" }, 'its value is not JSON: "{"'],
    ["a public IP that is none", stored("10.5.2.0-24", { ip: "x" }), 'PublicIP is "x", want an ipv4 address'],
    ["a subnet outside", stored("10.6.2.0-24"), "its subnet 10.6.2.0/24 is outside the network 10.5.0.0/16"],
    ["a subnet around", stored("10.4.0.0-15"), "its subnet 10.4.0.0/15 is outside the network 10.5.0.0/16"],
    [
      "an IPv6 subnet outside",
      stored("10.5.2.0-24&fd01::-64"),
      "its subnet fd01::/64 is outside the network fd00::/48",
    ],
    [
      "our subnet under another key",
      stored("10.5.1.0-24"),
      "its subnet 10.5.1.0/24 overlaps this node's own 10.5.1.0/24",
    ],
    ["a part of ours", stored("10.5.1.128-25"), "its subnet 10.5.1.128/25 overlaps this node's own 10.5.1.0/24"],
    ["the whole network", stored("10.5.0.0-16"), "its subnet 10.5.0.0/16 overlaps this node's own 10.5.1.0/24"],
    [
      "our IPv6 subnet",
      stored("10.5.2.0-24&fd00:0:0:1::-64"),
      "its subnet fd00:0:0:1::/64 overlaps this node's own fd00:0:0:1::/64",
    ],
    [
      "a public IP of this host",
      stored("10.5.2.0-24", { ip: "192.0.2.1" }),
      "its public IP 192.0.2.1 is an address of this host",
    ],
    [
      "our public IP behind NAT",
      stored("10.5.2.0-24", { ip: "198.51.100.1" }),
      "its public IP 198.51.100.1 is this node's own",
    ],
    [
      "a public IP that is nobody's",
      stored("10.5.2.0-24", { ip: "239.1.1.1" }),
      "its public IP 239.1.1.1 is not the address of a host",
    ],
  ])("%s", (_, lease, reason) => {
    const leases = builder();
    leases.reset([stored("10.5.9.0-24"), lease]);
    const set = taken(leases.take());
    expect(keys(set)).toEqual(["10.5.9.0-24"]);
    expect(refused(set)).toEqual({ [lease.key]: reason });
  });

  test("a lease in no family of the network", () => {
    const leases = builder({ ipv4: "10.5.0.0/16" as Prefix });
    leases.put(stored("fd00:0:0:2::-64"));
    expect(refused(taken(leases.take()))).toEqual({
      "fd00:0:0:2::-64": "it has no subnet in an address family of this network",
    });
  });
});

test("the own lease is neither a peer nor refused, whatever stands there", () => {
  const leases = builder();
  leases.reset([stored(own.key, { ip: "192.0.2.1" }), { ...stored(own.key), value: "{" }]);
  const set = taken(leases.take());
  expect([keys(set), refused(set), changed(set)]).toEqual([[], {}, []]);
});

test("a peer of two families is a peer in the one that this network has", () => {
  const leases = builder({ ipv4: "10.5.0.0/16" as Prefix });
  leases.reset([stored("10.5.2.0-24&fd99::-64"), stored("10.5.3.0-24&fd99::-64")]);
  expect(keys(taken(leases.take()))).toEqual(["10.5.2.0-24&fd99::-64", "10.5.3.0-24&fd99::-64"]);
});

test("an empty store yields an empty set once, and then nothing", () => {
  const leases = builder();
  leases.reset([]);
  expect(taken(leases.take())).toMatchObject({ changed: [], number: 1, previous: 0 });
  expect(leases.take()).toBeUndefined();
});

test("changed names only what differs from the set before, and other leases stay the same objects", () => {
  const leases = builder();
  leases.reset([stored("10.5.2.0-24"), stored("10.5.3.0-24")]);
  const first = taken(leases.take());
  expect(changed(first)).toEqual(["10.5.2.0-24", "10.5.3.0-24"]);

  leases.put(stored("10.5.2.0-24", { mac: "02:00:00:00:00:99" }));
  leases.put(stored("10.5.4.0-24"));
  const second = taken(leases.take());
  expect(changed(second)).toEqual(["10.5.2.0-24", "10.5.4.0-24"]);
  expect([second.number, second.previous]).toEqual([2, 1]);
  const untouched = "10.5.3.0-24" as LeaseKey;
  expect(second.leases.get(untouched)).toBe(first.leases.get(untouched) as Lease);
  expect(first.leases.size).toBe(2);

  leases.remove("10.5.3.0-24");
  leases.remove("10.5.99.0-24");
  expect(changed(taken(leases.take()))).toEqual(["10.5.3.0-24"]);
});

test("a renewal, which moves only the expiry, changes nothing", () => {
  const leases = builder();
  leases.reset([stored("10.5.2.0-24"), stored("config")]);
  leases.take();
  leases.put(stored("10.5.2.0-24", { expiresAt: 2 }));
  leases.reset([stored("10.5.2.0-24", { expiresAt: 3 }), stored("config", { expiresAt: 3 })]);
  expect(leases.take()).toBeUndefined();
});

test("a reset reports a changed MAC under an unchanged subnet, which upstream loses", () => {
  const leases = builder();
  leases.reset([stored("10.5.2.0-24"), stored("10.5.3.0-24")]);
  leases.take();
  leases.reset([stored("10.5.2.0-24", { mac: "02:00:00:00:00:99" }), stored("10.5.3.0-24")]);
  const set = taken(leases.take());
  expect(changed(set)).toEqual(["10.5.2.0-24"]);
  expect(set.leases.get("10.5.2.0-24" as LeaseKey)?.backendData.ipv4).toEqual({ VNI: 1, VtepMAC: "02:00:00:00:00:99" });
});

test("a reset takes away what the store has no more, refused leases too", () => {
  const leases = builder();
  leases.reset([stored("10.5.2.0-24"), stored("10.5.3.0-24"), stored("config")]);
  leases.take();
  leases.reset([stored("10.5.3.0-24")]);
  const set = taken(leases.take());
  expect([keys(set), refused(set), changed(set)]).toEqual([["10.5.3.0-24"], {}, ["10.5.2.0-24", "config"]]);
});

describe("of two leases that overlap", () => {
  const large = "10.5.2.0-23";
  const small = "10.5.3.0-24";

  test.each([
    [large, small, "its subnet 10.5.3.0/24 overlaps the lease 10.5.2.0-23"],
    [small, large, "its subnet 10.5.2.0/23 overlaps the lease 10.5.3.0-24"],
    ["10.5.3.0-24&fd00:0:0:3::-64", small, "its subnet 10.5.3.0/24 overlaps the lease 10.5.3.0-24&fd00:0:0:3::-64"],
    ["fd00:0:0:4::-63", "fd00:0:0:5::-64", "its subnet fd00:0:0:5::/64 overlaps the lease fd00:0:0:4::-63"],
  ])(
    "the first (%s) keeps its place, and the second (%s) gets its own when the first leaves",
    (first, second, reason) => {
      const leases = builder();
      leases.reset([stored(first), stored(second)]);
      const before = taken(leases.take());
      expect([keys(before), refused(before)]).toEqual([[first], { [second]: reason }]);
      leases.remove(first);
      const after = taken(leases.take());
      expect([keys(after), refused(after)]).toEqual([[second], {}]);
      expect(changed(after)).toEqual([first, second]);
    },
  );

  test("the second gets its place also when the first turns bad", () => {
    const leases = builder();
    leases.reset([stored(large), stored(small)]);
    leases.take();
    leases.put({ ...stored(large), value: "{" });
    const set = taken(leases.take());
    expect([keys(set), refused(set)]).toEqual([[small], { [large]: 'its value is not JSON: "{"' }]);
    leases.put(stored(large));
    expect(refused(taken(leases.take()))).toEqual({ [large]: "its subnet 10.5.2.0/23 overlaps the lease 10.5.3.0-24" });
  });

  test("of several that wait, the first to come gets the place, and the next waits for that one", () => {
    const leases = builder();
    const third = "10.5.3.128-25";
    leases.reset([stored(large), stored(small), stored(third)]);
    leases.remove(large);
    const set = taken(leases.take());
    expect([keys(set), Object.keys(refused(set))]).toEqual([[small], [third]]);
    leases.remove(small);
    expect(keys(taken(leases.take()))).toEqual([third]);
  });

  test("one that left while it waited does not come back", () => {
    const leases = builder();
    leases.reset([stored(large), stored(small)]);
    leases.remove(small);
    leases.remove(large);
    expect(keys(taken(leases.take()))).toEqual([]);
  });

  test("a changed attribute does not make a lease its own rival", () => {
    const leases = builder();
    leases.reset([stored(small)]);
    leases.put(stored(small, { mac: "02:00:00:00:00:99" }));
    const set = taken(leases.take());
    expect([keys(set), refused(set)]).toEqual([[small], {}]);
  });
});
