// The udp backend: flanneld's own packet loop between nodes, its repairs, what it refuses, and Go flannel's nodes beside it.

import { expect, test } from "bun:test";
import { becomes } from "./becomes.ts";
import { type Flanneld, type Node, Underlay } from "./nodes.ts";

const UDP = { Network: "10.5.0.0/16", Backend: { Type: "udp" } };

/** Nodes with a flanneld each, all of whom reach each other. */
async function cluster(
  nodes: number,
  config: object = UDP,
): Promise<AsyncDisposable & { underlay: Underlay; daemons: Flanneld[] }> {
  const underlay = await Underlay.open({ nodes, families: ["ipv4"], config });
  try {
    const daemons = await Promise.all(underlay.nodes.map(async (node) => await node.flanneld().ready()));
    await allReach(underlay.nodes);
    return { underlay, daemons, [Symbol.asyncDispose]: () => underlay[Symbol.asyncDispose]() };
  } catch (error) {
    await underlay[Symbol.asyncDispose]();
    throw error;
  }
}

async function allReach(nodes: readonly Node[]): Promise<void> {
  for (const from of nodes) {
    for (const to of nodes) {
      if (to !== from)
        await becomes(async () => [from.n, to.n, await from.ping(to.overlay(), 1)], [from.n, to.n, 1], 20_000);
    }
  }
}

test("udp: three nodes reach each other, by one device with one address and one route", async () => {
  await using made = await cluster(3);
  const [node] = made.underlay.nodes;
  if (!node) throw new Error("unreachable");
  console.log(made.daemons[0]?.output);
  expect(node.subnetEnv.FLANNEL_MTU).toBe("1472");
  expect(node.link("flannel0")?.mtu).toBe(1472);
  expect(node.run("ip -4 -o address show dev flannel0")).toContain(` ${node.overlay()}/32 `);
  expect(node.run("ip -4 route show dev flannel0")).toBe("10.5.0.0/16 proto 70 scope link \n");
  made.daemons[0]?.child.kill("SIGQUIT");
  await Bun.sleep(200);
  console.log(made.daemons[0]?.output);
});
