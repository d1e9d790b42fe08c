// What a kernel, fake or real, must be like for the reconciler to keep its promises, as cases that run against both. A case drives a real
// reconciler over the world's drivers and compares what stands in the end, in iproute2's words.

import { expect } from "bun:test";
import type { HostFacts } from "../../src/backend/backend.ts";
import { bindBackend, Planner } from "../../src/backend/planner.ts";
import { vxlan } from "../../src/backend/vxlan.ts";
import { parseAddress } from "../../src/ip/address.ts";
import type { PerFamily } from "../../src/ip/family.ts";
import { type Mac, parseMac } from "../../src/ip/mac.ts";
import { type Prefix, parsePrefix } from "../../src/ip/prefix.ts";
import type { Driver } from "../../src/kernel/driver.ts";
import { type ReconcileEvent, Reconciler } from "../../src/kernel/reconciler.ts";
import { formatLeaseKey } from "../../src/lease/key.ts";
import type { Lease } from "../../src/lease/lease.ts";
import { type KernelObject, keyOf, type ObjectKey, type ObjectKind } from "../../src/state/object.ts";
import type { Change } from "../../src/state/operation.ts";
import { printObject, printOperation } from "../../src/state/print.ts";

/** A kernel with a device eth0 (MTU 1500, 192.168.77.1/24 and fd00:77::1/64, up) and nothing of ours. */
export interface World {
  readonly drivers: readonly Driver[];
  /** Whether routes to peers go through nexthop objects here. */
  readonly nexthopObjects: boolean;
  /** How long something may take to come about; generous, but for a test that expects it never to. */
  readonly patienceMs?: number | undefined;
  /** Does an operation behind flannel's back. */
  outside(operation: Change): Promise<void>;
  /** Sets a device down and up again before anybody can look. */
  bounce(dev: string): Promise<void>;
  /** Makes one thing that is not flannel's and looks as if it could be; returns how to see that it still stands. */
  stranger(): Promise<() => Promise<boolean>>;
  /** Everything on our devices and every route of our networks, as `describe` words it, sorted. */
  objects(): Promise<readonly string[]>;
  /** Does `work` outside and makes flannel miss the notifications. */
  unheard(work: () => Promise<void>): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a constant of the contract does not parse");
  return value;
}

const address = (text: string) => must(parseAddress(text));
const prefix = (text: string): Prefix => must(parsePrefix(text));
const macOf = (node: number): Mac => must(parseMac(`02:00:00:00:${hex(node >> 8)}:${hex(node & 0xff)}`));
const hex = (byte: number) => byte.toString(16).padStart(2, "0");

export const FACTS: HostFacts = {
  external: {
    name: "eth0",
    mtu: 1500,
    address: { ipv4: address("192.168.77.1"), ipv6: address("fd00:77::1") },
    routes: [],
  },
  addresses: new Set(),
  nexthopObjects: true,
  networks: { ipv4: prefix("10.5.0.0/16"), ipv6: prefix("fd00:5::/48") },
};

/** Node `n`: subnets 10.5.n.0/24 and fd00:5:0:n::/64 (n in hex), public IPs 192.168.77.n (at .1.n above 255) and fd00:77::n. */
export function lease(n: number, changes: Partial<Lease> = {}): Lease {
  const subnet: PerFamily<Prefix> = {
    ipv4: prefix(`10.5.${n}.0/24`),
    ipv6: prefix(n === 0 ? "fd00:5::/64" : `fd00:5:0:${n.toString(16)}::/64`),
  };
  return {
    key: formatLeaseKey(subnet),
    subnet,
    publicIp: { ipv4: address(`192.168.77.${n}`), ipv6: address(`fd00:77::${n.toString(16)}`) },
    backendType: "vxlan",
    backendData: { ipv4: { VNI: 1, VtepMAC: macOf(n) }, ipv6: { VNI: 1, VtepMAC: macOf(n + 0x4000) } },
    expiresAt: undefined,
    ...changes,
  };
}

export const OWN = lease(1);
export const IDENTITY = { mac: { ipv4: macOf(1), ipv6: macOf(0x4001) } };
export const CONFIG = vxlan.config({ Type: "vxlan" });

export function planFor(
  peers: readonly Lease[],
  { nexthopObjects }: Pick<World, "nexthopObjects">,
): Map<ObjectKey, KernelObject> {
  const planner = new Planner(bindBackend(vxlan, CONFIG, IDENTITY, OWN, { ...FACTS, nexthopObjects }));
  planner.update({
    leases: new Map(peers.map((peer) => [peer.key, peer])),
    refused: new Map(),
    changed: [],
    number: 1,
    previous: 0,
  });
  return new Map(planner.desired);
}

/** An object in words that tell every difference: a link with its options. */
export function describe(object: KernelObject): string {
  return object.kind === "link" ? printOperation({ verb: "add", object }) : printObject(object);
}

const words = (desired: ReadonlyMap<ObjectKey, KernelObject>) => [...desired.values()].map(describe).sort();

/** A reconciler at work over a world, and what it reported. */
class Subject {
  readonly reconciler: Reconciler;
  readonly events: ReconcileEvent[] = [];
  readonly #world: World;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(world: World, drivers = world.drivers) {
    this.#world = world;
    this.reconciler = new Reconciler(drivers, {
      report: (event) => this.events.push(event),
      patience: { firstMs: 50, maxMs: 200, repairs: 5, windowMs: 60_000, now: () => performance.now() },
    });
    this.#running = this.reconciler.run(this.#stop.signal);
  }

  desire(desired: ReadonlyMap<ObjectKey, KernelObject>, complete = true): void {
    this.reconciler.desire(desired, "all", complete);
  }

  /** Waits until the world is as wanted; fails with the difference when it does not come about. */
  async becomes(expected: readonly string[]): Promise<void> {
    const end = performance.now() + (this.#world.patienceMs ?? 10_000);
    let actual = await this.#world.objects();
    while (!Bun.deepEquals(actual, expected) && performance.now() < end) {
      await Bun.sleep(5);
      actual = await this.#world.objects();
    }
    expect(actual).toEqual([...expected]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

export interface ContractCase {
  readonly name: string;
  /** Only where routes go through nexthop objects. */
  readonly needsNexthopObjects?: boolean;
  run(world: World, drivers?: readonly Driver[]): Promise<void>;
}

const PEERS = [lease(2), lease(3), lease(4)];

function find(desired: ReadonlyMap<ObjectKey, KernelObject>, kind: ObjectKind, text = ""): KernelObject {
  return must([...desired.values()].find((object) => object.kind === kind && printObject(object).includes(text)));
}

/** One change behind flannel's back, and that it is undone. */
function drift(name: string, change: (desired: Map<ObjectKey, KernelObject>) => Change): ContractCase {
  return {
    name: `drift is repaired: ${name}`,
    async run(world, drivers) {
      await using subject = new Subject(world, drivers);
      const desired = planFor(PEERS, world);
      subject.desire(desired);
      await subject.becomes(words(desired));
      await world.outside(change(desired));
      await subject.becomes(words(desired));
    },
  };
}

const removed = (kind: ObjectKind, text: string): ContractCase => ({
  ...drift(`${kind} ${text} deleted`, (desired) => ({ verb: "delete", object: find(desired, kind, text) })),
  needsNexthopObjects: kind === "nexthop",
});

const altered = (kind: ObjectKind, text: string, fields: object) =>
  drift(`${kind} ${text} changed to ${JSON.stringify(fields)}`, (desired) => {
    const actual = find(desired, kind, text);
    return { verb: "change", actual, object: { ...actual, ...fields } as KernelObject };
  });

export const CONTRACT: readonly ContractCase[] = [
  {
    name: "an empty kernel becomes the desired state, and a second look finds nothing left",
    async run(world, drivers) {
      const desired = planFor(PEERS, world);
      {
        await using subject = new Subject(world, drivers);
        subject.desire(desired);
        await subject.becomes(words(desired));
        await subject.reconciler.settled();
        expect(subject.reconciler.troubles.size).toBe(0);
      }
    },
  },
  {
    name: "peers join, change their MAC and public IP, and leave",
    async run(world, drivers) {
      await using subject = new Subject(world, drivers);
      const moved = lease(3, {
        publicIp: { ipv4: address("192.168.77.33"), ipv6: address("fd00:77::33") },
        backendData: { ipv4: { VtepMAC: macOf(0x303) }, ipv6: { VtepMAC: macOf(0x4303) } },
      });
      for (const peers of [[lease(2)], PEERS, [lease(2), moved, lease(4)], [moved], []]) {
        subject.desire(planFor(peers, world));
        await subject.becomes(words(planFor(peers, world)));
      }
    },
  },
  {
    name: "nothing is removed before a complete set was seen, and stale peers go with it",
    async run(world, drivers) {
      const before = planFor([...PEERS, lease(9)], world);
      {
        await using first = new Subject(world, drivers);
        first.desire(before);
        await first.becomes(words(before));
      }
      await using second = new Subject(world, drivers);
      second.desire(planFor([], world), false);
      await second.reconciler.settled();
      expect(await world.objects()).toEqual(words(before));
      second.desire(planFor(PEERS, world));
      await second.becomes(words(planFor(PEERS, world)));
    },
  },
  removed("neighbour", "10.5.2.0"),
  removed("neighbour", "fd00:5:0:2::"),
  removed("fdb", "dst 192.168.77.3"),
  removed("fdb", "dst fd00:77::3"),
  removed("route", "10.5.4.0/24"),
  removed("route", "fd00:5:0:4::/64"),
  removed("nexthop", "10.5.3.0"),
  removed("nexthop", "fd00:5:0:3::"),
  removed("address", "10.5.1.0/32"),
  removed("address", "fd00:5:0:1::/128"),
  removed("up", "flannel.1"),
  removed("up", "flannel-v6.1"),
  removed("link", "flannel.1"),
  removed("link", "flannel-v6.1"),
  altered("fdb", "dst 192.168.77.3", { dst: address("192.168.77.99") }),
  altered("neighbour", "10.5.2.0", { mac: macOf(0x999) }),
  altered("route", "10.5.4.0/24", { gateway: address("10.5.3.0"), form: "plain" }),
  altered("route", "fd00:5:0:4::/64", { gateway: address("fd00:5:0:3::"), form: "plain" }),
  altered("link", "flannel.1", { mac: macOf(0x777) }),
  altered("link", "flannel.1", { mtu: 1300 }),
  drift("link flannel.1 with another MAC, MTU and learning", (desired) => {
    const actual = find(desired, "link", "flannel.1");
    if (actual.kind !== "link") throw new Error("unreachable");
    return {
      verb: "change",
      actual,
      object: { ...actual, mac: macOf(0x777), mtu: 1300, info: { ...actual.info, learning: true } },
    };
  }),
  altered("sysctl", "accept_ra", { value: "1" }),
  {
    name: "drift is repaired: a device set down and up again at once",
    async run(world, drivers) {
      await using subject = new Subject(world, drivers);
      const desired = planFor(PEERS, world);
      subject.desire(desired);
      await subject.becomes(words(desired));
      await world.bounce("flannel.1");
      await subject.becomes(words(desired));
    },
  },
  {
    name: "a device that goes down and up again and again is nobody's fight, nor are the routes that go with it",
    async run(world, drivers) {
      await using subject = new Subject(world, drivers);
      const desired = planFor([lease(2)], world);
      subject.desire(desired);
      await subject.becomes(words(desired));
      for (let i = 0; i < 8; i++) {
        await world.bounce("flannel.1");
        await subject.becomes(words(desired));
      }
      await subject.reconciler.settled();
      expect(subject.events.filter((event) => event.kind === "failed")).toEqual([]);
    },
  },
  {
    name: "drift that was never heard of is found when notifications were lost",
    async run(world, drivers) {
      await using subject = new Subject(world, drivers);
      const desired = planFor(PEERS, world);
      subject.desire(desired);
      await subject.becomes(words(desired));
      await world.unheard(async () => {
        for (const [kind, text] of [
          ["route", "10.5.4.0/24"],
          ["fdb", "fd00:77::3"],
          ["neighbour", "10.5.2.0"],
        ] as const) {
          await world.outside({ verb: "delete", object: find(desired, kind, text) });
        }
      });
      await subject.becomes(words(desired));
    },
  },
  {
    name: "what is not ours is left alone",
    async run(world, drivers) {
      await using subject = new Subject(world, drivers);
      const stillThere = await world.stranger();
      subject.desire(planFor(PEERS, world));
      await subject.becomes(words(planFor(PEERS, world)));
      subject.desire(planFor([], world));
      await subject.becomes(words(planFor([], world)));
      expect(await stillThere()).toBe(true);
    },
  },
  {
    name: "an object that fails is reported once, stops nobody else, and comes when it can",
    async run(world, drivers) {
      await using subject = new Subject(world, drivers);
      const good = planFor(PEERS, world);
      const route = find(good, "route", "10.5.4.0/24");
      const key = keyOf(route);
      const broken = new Map(good).set(key, { ...route, dev: "flannel.77", form: "plain" } as KernelObject);
      subject.desire(broken);
      const rest = new Map(broken);
      rest.delete(key);
      await subject.becomes(words(rest));
      await Bun.sleep(120);
      expect(subject.events.filter((event) => event.kind === "failed").length).toBe(1);
      expect([...subject.reconciler.troubles.keys()]).toEqual([key]);
      subject.desire(good);
      await subject.becomes(words(good));
      expect(subject.reconciler.troubles.size).toBe(0);
    },
  },
  {
    name: "a device that does not fit is made anew, once all peers are known",
    async run(world, drivers) {
      const desired = planFor(PEERS, world);
      {
        await using first = new Subject(world, drivers);
        first.desire(desired);
        await first.becomes(words(desired));
      }
      await using second = new Subject(world, drivers);
      const link = find(desired, "link", "flannel.1");
      if (link.kind !== "link") throw new Error("unreachable");
      const other = { ...link, info: { ...link.info, port: 4789 } };
      const changed = new Map(desired).set(keyOf(link), other);
      second.desire(changed, false);
      await second.reconciler.settled();
      expect(second.events.filter((event) => event.kind === "failed")).toEqual([]);
      second.desire(changed);
      await second.becomes(words(changed));
      await second.reconciler.settled();
      expect(second.reconciler.troubles.size).toBe(0);
    },
  },
  {
    name: "who undoes a repair again and again is not fought",
    async run(world, drivers) {
      await using subject = new Subject(world, drivers);
      const desired = planFor([lease(2)], world);
      subject.desire(desired);
      await subject.becomes(words(desired));
      for (let i = 0; i < 5; i++) {
        await world.outside({ verb: "delete", object: find(desired, "route", "10.5.2.0/24") });
        await subject.becomes(words(desired));
      }
      await world.outside({ verb: "delete", object: find(desired, "route", "10.5.2.0/24") });
      const end = performance.now() + 2_000;
      const fought = () => subject.events.some((event) => event.kind === "failed" && event.trouble.fight);
      while (!fought() && performance.now() < end) await Bun.sleep(5);
      expect(fought()).toBe(true);
      await subject.becomes(words(desired));
    },
  },
];

/** A driver that claims to have done every third operation without doing it: the contract must catch it. */
export function droppingEveryThird(driver: Driver): Driver {
  let count = 0;
  return {
    kinds: driver.kinds,
    mirror: driver.mirror,
    get inDoubt() {
      return driver.inDoubt;
    },
    refresh: (kind) => driver.refresh(kind),
    watch: (wake) => driver.watch(wake),
    async apply(operations) {
      const kept = operations.filter(() => ++count % 3 !== 0);
      const outcomes = await driver.apply(kept);
      for (const { key, verb, object } of operations.filter((operation) => !kept.includes(operation))) {
        driver.mirror.confirm(key, verb === "delete" ? undefined : object);
      }
      return operations.map((operation) => outcomes[kept.indexOf(operation)]);
    },
    [Symbol.dispose]: () => driver[Symbol.dispose](),
  };
}
