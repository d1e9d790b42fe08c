// Leases as nodes live with them: raced for, lost, taken, reserved, renewed, and run out.

import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { becomes } from "./becomes.ts";
import type { Flanneld } from "./flanneld.ts";
import { NETWORK, type Node, Underlay } from "./nodes.ts";
import { until } from "./program.ts";
import { leaseKey, peerLease } from "./store.ts";

/** Exactly eight subnets. */
const EIGHT = { ...NETWORK, SubnetLen: 28, SubnetMin: "10.5.0.128", SubnetMax: "10.5.0.240" };

test("flanneld: eight that start at once over eight subnets get one each; a ninth fails and leaves nothing", async () => {
  await using underlay = await Underlay.open({ nodes: 9, config: undefined });
  const racers = underlay.nodes.slice(0, 8);
  const daemons = racers.map((node) => node.flanneld());
  for (const daemon of daemons) await daemon.says(/waiting: .* holds no network configuration yet/);
  await underlay.store.configure(EIGHT); // the start of the race
  await Promise.all(daemons.map((daemon) => daemon.peers(7)));
  expect(daemons.flatMap((daemon) => daemon.lines(/Lease lost/))).toEqual([]);
  const subnets = racers.map((node) => node.subnet());
  expect(subnets.toSorted()).toEqual([128, 144, 160, 176, 192, 208, 224, 240].map((last) => `10.5.0.${last}/28`));
  expect((await underlay.store.keys()).toSorted()).toEqual(subnets.map(leaseKey).toSorted());
  const [first, last] = [underlay.node(1), underlay.node(8)];
  expect(await first.ping(last.overlay())).toBe(3);

  const late = underlay.node(9);
  const ninth = late.flanneld();
  expect(await ninth.exit()).toBe(1);
  const cause = "cannot lease a subnet of 10.5.0.0/16: all 8 subnets 10.5.0.128/28 to 10.5.0.240/28 are taken";
  expect(ninth.lines(/^[EW]/)).toHaveLength(1);
  expect(ninth.output).toContain(cause);
  expect(ninth.status).toMatchObject({ phase: "failed", cause: expect.stringContaining(cause) });
  expect(late.objects()).toEqual([]);
  expect(existsSync(late.subnetFile)).toBe(false);
  expect(await underlay.store.keys()).toHaveLength(8);
});

/** A daemon that has its lease, and all that must not change when it loses it. */
async function settled(underlay: Underlay): Promise<{ node: Node; flanneld: Flanneld; key: string }> {
  const node = underlay.node(1);
  const { key, value } = peerLease(2);
  await underlay.store.put(key, value);
  const flanneld = await node.flanneld().peers(1);
  await until("the peer's route", () => node.objects().some((line) => line.startsWith("route 10.5.2.0/24")));
  return { node, flanneld, key: leaseKey(node.subnet()) };
}

test("flanneld: a lease that is deleted is acquired again, the same subnet, with everything left standing", async () => {
  await using underlay = await Underlay.open({ nodes: 1, only: "embedded" });
  const { node, flanneld, key } = await settled(underlay);
  const [objects, link, { value }] = [node.objects(), node.link(), await underlay.store.entry(key)];
  await underlay.store.remove(key);
  await flanneld.says(/Lease lost: /);
  await until("ready again", () => flanneld.lines(/ready$/).length === 2, flanneld);
  expect((await underlay.store.entry(key)).value).toBe(value);
  expect([node.objects(), node.link(), leaseKey(node.subnet())]).toEqual([objects, link, key]);
});

test("flanneld: a lease that another node has taken is given up for a new one, and the log and subnet.env say so", async () => {
  await using underlay = await Underlay.open({ nodes: 1, only: "embedded" });
  const { node, flanneld, key } = await settled(underlay);
  const [link, lost] = [node.link(), node.subnet()];
  await underlay.store.put(key, peerLease(77).value);
  await until("another subnet", () => node.subnet() !== lost, flanneld);
  const gained = node.subnet();
  expect(flanneld.lines(/Lease lost/)[0]).toContain(key);
  expect(flanneld.lines(/Lease acquired/)[1]).toEndWith(`Lease acquired: ${gained}`);
  expect(node.link()).toEqual(link);
  await becomes(
    () => node.objects().filter((line) => /^(address|route)/.test(line)),
    [
      `address ${gained.replace("/24", "/32")} dev flannel.1`,
      ...["10.5.2.0/24", lost]
        .toSorted()
        .map((subnet) => `route ${subnet} via ${subnet.replace("/24", "")} dev flannel.1 onlink`),
    ],
  );
});

test("flanneld: a reservation is used, and outlives its node however short other leases are", async () => {
  await using underlay = await Underlay.open({ nodes: 1 });
  const [node, { store }] = [underlay.node(1), underlay];
  const key = "10.5.123.0-24";
  await store.put(key, { PublicIP: node.address.ipv4 });
  for (let run = 0; run < 2; run++) {
    await using flanneld = await node.flanneld({ flags: ["--lease-ttl=1"] }).ready();
    expect(node.subnet()).toBe("10.5.123.0/24");
    await Bun.sleep(1_500);
    expect(await store.entries()).toMatchObject([{ key, expiresAt: undefined }]);
    expect(await flanneld.stop()).toBe(0);
    await Bun.sleep(1_200);
    expect(await store.entries()).toMatchObject([{ key, expiresAt: undefined }]);
  }
});

test("flanneld: a lease is renewed in time and quietly; the routes to a node that died go with its lease", async () => {
  await using underlay = await Underlay.open({ only: "embedded" });
  const [watcher, dying] = [underlay.node(1), underlay.node(2)];
  const flags = ["--lease-ttl=2", "-v=2"];
  const watching = watcher.flanneld({ flags: ["-v=2"] });
  const daemon = dying.flanneld({ flags });
  await Promise.all([watching.peers(1), daemon.peers(1)]);
  const key = leaseKey(dying.subnet());
  const first = await underlay.store.entry(key);
  await Bun.sleep(4_500);
  const last = await underlay.store.entry(key);
  expect((last.expiresAt ?? 0) - (first.expiresAt ?? 0)).toBeGreaterThan(2_500);
  expect(last.revision).toBe(first.revision); // the same entry, not one made anew after it had run out
  expect(watching.lines(/peer: /)).toHaveLength(1);
  expect(await watcher.ping(dying.overlay())).toBe(3);

  await daemon.stop("SIGKILL");
  await becomes(() => watcher.objects().filter((line) => !/^(address|ip link|link) /.test(line)), []);
  await watching.says(/peer gone: /);
});
