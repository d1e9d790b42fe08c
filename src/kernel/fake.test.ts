import { expect, test } from "bun:test";
import { CONTRACT, describe, droppingEveryThird, lease, planFor, type World } from "../../test/kernel/contract.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { KernelObject, ObjectKind } from "../state/object.ts";
import { type Driver, Overtaken } from "./driver.ts";
import { FakeKernel } from "./fake.ts";
import { type ReconcileEvent, Reconciler } from "./reconciler.ts";

function openFake(): World {
  const kernel = new FakeKernel(new Map([["eth0", 1500]]));
  return {
    drivers: [kernel],
    nexthopObjects: true,
    outside: async (operation) => kernel.outside(operation),
    objects: async () =>
      kernel.objects
        .filter((object) => !isStranger(object))
        .map(describe)
        .sort(),
    async bounce(dev) {
      kernel.outside({ verb: "delete", object: { kind: "up", dev } });
      kernel.outside({ verb: "add", object: { kind: "up", dev } });
    },
    async stranger() {
      const dst = parsePrefix("10.99.0.0/16");
      if (!dst) throw new Error("unreachable");
      const route: KernelObject = { kind: "route", dst, dev: "eth0", gateway: undefined, onlink: false, form: "plain" };
      kernel.outside({ verb: "add", object: route }, true);
      return async () => kernel.objects.some(isStranger);
    },
    async unheard(work) {
      await work();
      kernel.deliver(true);
    },
    async [Symbol.asyncDispose]() {
      kernel[Symbol.dispose]();
    },
  };
}

const isStranger = (object: KernelObject) => object.kind === "route" && object.dst === "10.99.0.0/16";

for (const { name, run } of CONTRACT) {
  test(`fake kernel: ${name}`, async () => {
    await using world = openFake();
    await run(world);
  });
}

test("the contract fails on a reconciler that drops every third operation", async () => {
  for (const { name, run } of CONTRACT.slice(0, 3)) {
    await using world: World = { ...openFake(), patienceMs: 300 };
    const outcome = await run(world, world.drivers.map(droppingEveryThird)).then(
      () => `passed: ${name}`,
      () => "failed",
    );
    expect(outcome).toBe("failed");
  }
});

test("Reconciler takes an operation whose device has just gone for news, not for a failure", async () => {
  const kernel = new FakeKernel(new Map([["eth0", 1500]]));
  const desired = planFor([lease(2)], { nexthopObjects: true });
  const overtaken: ObjectKind[] = [];
  const driver: Driver = {
    kinds: kernel.kinds,
    mirror: kernel.mirror,
    get inDoubt() {
      return kernel.inDoubt;
    },
    refresh: (kind) => kernel.refresh(kind),
    watch: (wake) => kernel.watch(wake),
    async apply(operations) {
      const kind = operations[0]?.object.kind;
      if (kind !== "fdb" || overtaken.length > 0) return kernel.apply(operations);
      overtaken.push(kind);
      for (const name of ["flannel.1", "flannel-v6.1"]) {
        const link = kernel.objects.find((object) => object.kind === "link" && object.name === name);
        if (link) kernel.outside({ verb: "delete", object: link });
      }
      kernel.deliver(true); // the news itself is lost; doubt remains
      return operations.map(() => new Overtaken("ENODEV"));
    },
    [Symbol.dispose]: () => kernel[Symbol.dispose](),
  };
  const events: ReconcileEvent[] = [];
  const reconciler = new Reconciler([driver], { report: (event) => events.push(event) });
  const stop = new AbortController();
  const running = reconciler.run(stop.signal);
  reconciler.desire(desired, "all", true);
  await reconciler.settled();
  stop.abort();
  await running;
  expect(overtaken).toEqual(["fdb"]);
  expect(events.filter((event) => event.kind === "failed")).toEqual([]);
  expect(kernel.objects.map(describe).sort()).toEqual([...desired.values()].map(describe).sort());
});
