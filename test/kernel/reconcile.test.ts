// The contract on the real kernel.

import { expect, test } from "bun:test";
import { CONTRACT, droppingEveryThird } from "./contract.ts";
import { LinuxWorld } from "./linux_world.ts";

for (const nexthopObjects of [true, false]) {
  for (const { name, run, needsNexthopObjects } of CONTRACT) {
    if (needsNexthopObjects && !nexthopObjects) continue;
    test(`Linux, ${nexthopObjects ? "nexthop objects" : "plain routes"}: ${name}`, async () => {
      // Overruns need a buffer that can be filled.
      await using world = new LinuxWorld({ nexthopObjects, ...(name.includes("lost") && { notificationBytes: 4096 }) });
      await run(world);
    });
  }
}

test("the contract fails on a reconciler that drops every third operation", async () => {
  for (const { name, run } of CONTRACT.slice(0, 3)) {
    await using world = new LinuxWorld({ patienceMs: 500 });
    const outcome = await run(world, world.drivers.map(droppingEveryThird)).then(
      () => `passed: ${name}`,
      () => "failed",
    );
    expect(outcome).toBe("failed");
  }
});
