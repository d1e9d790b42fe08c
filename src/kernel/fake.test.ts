import { expect, test } from "bun:test";
import { CONTRACT, describe, droppingEveryThird, type World } from "../../test/kernel/contract.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { KernelObject } from "../state/object.ts";
import { FakeKernel } from "./fake.ts";

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
    await using world = openFake();
    const outcome = await run(world, world.drivers.map(droppingEveryThird)).then(
      () => `passed: ${name}`,
      () => "failed",
    );
    expect(outcome).toBe("failed");
  }
}, 20_000);
