// What happens to API servers while flannelds run: whatever it is, nobody loses a route that it should keep, or keeps one that it should lose.

import { expect, test } from "bun:test";
import { becomes } from "./becomes.ts";
import { caughtUp, change, open, surviveOutage } from "./kube_network.ts";
import { NOTICE_MS, route, routesOf, STAYS, unreachable } from "./made_peers.ts";
import { Underlay } from "./nodes.ts";
import { until } from "./program.ts";
import { PingStream } from "./traffic.ts";

const TEST_MS = 120_000;

test.each(["gone", "cut"] as const)(
  "the API server is %s while the network changes and the history is forgotten: everything stays, and afterwards the node has it all",
  async (outage) => {
    const { noticed, healed } = await surviveOutage(outage, 3_000);
    console.log(
      `${outage}: noticed after ${noticed.toFixed(0)} ms, ${healed.toFixed(0)} ms from its end until the kernel had the changes`,
    );
  },
  TEST_MS,
);

test(
  "the API server hangs, connections and all: noticed, and goes on when it goes on",
  async () => {
    const world = await open(1);
    await using _ = world.underlay;
    const before = world.node.objects();
    process.kill(world.kube.pid, "SIGSTOP");
    await unreachable(world.flanneld);
    expect(world.node.objects()).toEqual(before);
    process.kill(world.kube.pid, "SIGCONT");
    await change(world.kube);
    await caughtUp(world);
  },
  TEST_MS,
);

test(
  "three servers are restarted one after another, as an upgrade does: no ping is lost, every change arrives, requests are few",
  async () => {
    const world = await open(2, { servers: 3 });
    const { underlay, kube, node, daemons } = world;
    await using _ = underlay;
    const other = underlay.node(2);
    const pings = await PingStream.start(node, other.overlay());
    await kube.asked();
    for (const server of [0, 1, 2]) {
      await kube.fate("stop", { server, crash: false });
      if (server === 1) await change(kube);
      await Bun.sleep(1_000);
      await kube.fate("start", { server });
      await Bun.sleep(1_500);
    }
    await caughtUp(world, [other.subnet()]);
    expect(await pings.stop()).toBe(0);
    for (const daemon of daemons) expect(daemon.lines(/Lease lost/)).toEqual([]);
    const lists = (await kube.asked()).filter(({ verb }) => verb === "list");
    expect(lists.length).toBeLessThanOrEqual(3 * daemons.length);
  },
  TEST_MS,
);

test(
  "watches that end are gone on with where they were: no list again, and nothing is told twice",
  async () => {
    const { underlay, kube, node, flanneld } = await open(1, { bookmarkMs: 100 });
    await using _ = underlay;
    await kube.asked();
    // What other objects do moves the version on, which bookmarks tell of.
    await Bun.sleep(300);
    for (let round = 0; round < 5; round++) {
      await kube.fate("endWatches", {});
      await Bun.sleep(200);
    }
    await change(kube);
    await becomes(() => routesOf(node).includes(route(154)), true);
    const verbs = (await kube.asked()).filter(({ user }) => user === "flannel").map(({ verb }) => verb);
    expect(verbs.length).toBeGreaterThanOrEqual(5);
    expect(verbs.filter((verb) => verb !== "watch")).toEqual(["get"]); // the node that came
    expect(flanneld.lines(/^[EW]/)).toEqual([]);
  },
  TEST_MS,
);

test(
  "410: the history is gone with the watch; listed again, not older than what was seen, and what was deleted meanwhile goes",
  async () => {
    const world = await open(1);
    await using _ = world.underlay;
    const { kube, flanneld } = world;
    await kube.fate("stop", { server: 0, crash: true });
    await unreachable(flanneld);
    await change(kube);
    await kube.fate("compact", {});
    await kube.asked();
    await kube.fate("start", { server: 0 });
    await caughtUp(world);
    const [watch, list, again] = (await kube.asked()).filter(({ user }) => user === "flannel");
    expect([watch?.verb, list?.verb, again?.verb]).toEqual(["watch", "list", "watch"]);
    const version = (path = "") => new URLSearchParams(path.split("?")[1]).get("resourceVersion");
    expect(version(list?.path)).toBe(version(watch?.path));
    expect(Number(version(list?.path))).toBeGreaterThan(0);
  },
  TEST_MS,
);

test(
  "the server is overloaded: asked again when it says so, not sooner, and told once",
  async () => {
    const world = await open(1);
    await using _ = world.underlay;
    const { kube, flanneld } = world;
    await kube.fate("overload", { code: 429 });
    await kube.fate("endWatches", {});
    await kube.asked();
    await Bun.sleep(3_000);
    const asked = (await kube.asked()).length;
    expect(asked).toBeGreaterThan(0);
    expect(asked).toBeLessThanOrEqual(4);
    await kube.fate("overload", { code: 0 });
    await change(kube);
    await caughtUp(world);
    expect(flanneld.lines(/^E/)).toHaveLength(1);
  },
  TEST_MS,
);

test(
  "a cluster that is restored from a backup knows no version as late as ours: listed anew, and followed",
  async () => {
    const { underlay, kube, node, flanneld } = await open(1, { futureMs: 200 });
    await using _ = underlay;
    await kube.fate("restore", { version: 100 });
    await kube.remove("made-152");
    await kube.remove("made-153");
    await becomes(() => routesOf(node), [route(STAYS)], NOTICE_MS);
    expect(flanneld.lines(/Lease lost/)).toEqual([]);
    await kube.annotate("node1", { "flannel.alpha.coreos.com/public-ip": null });
    const annotated = async () =>
      (await kube.node("node1")).metadata.annotations?.["flannel.alpha.coreos.com/public-ip"];
    await becomes(annotated, node.address.ipv4);
  },
  TEST_MS,
);

test(
  "a thousand nodes are added in two seconds, and go again",
  async () => {
    const config = { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } };
    await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], config, kubernetes: {} });
    const [node, kube] = [underlay.node(1), underlay.kube.cluster];
    const flanneld = await node.flanneld().ready();
    const begun = performance.now();
    await kube.fate("fill", { from: 1_000, count: 1_000, bytes: 2_300, overMs: 2_000 });
    const added = performance.now() - begun;
    await flanneld.peers(1_000);
    const all = performance.now() - begun;
    console.log(
      `1,000 nodes in ${added.toFixed(0)} ms; all routes after ${all.toFixed(0)} ms; RSS ${(flanneld.rssKib / 1024).toFixed(1)} MiB`,
    );
    await kube.fate("stop", { server: 0, crash: false });
    for (const { metadata } of await kube.nodes())
      if (metadata.name.startsWith("made-")) await kube.remove(metadata.name);
    await kube.fate("compact", {});
    await kube.fate("start", { server: 0 });
    await until("no routes", () => routesOf(node).length === 0, flanneld, NOTICE_MS);
  },
  TEST_MS,
);

test.each(["whole", "refused"] as const)(
  "metadata alone cannot be had of the server (%s): everything arrives all the same",
  async (metadataOnly) => {
    const world = await open(1, { metadataOnly });
    await using _ = world.underlay;
    await change(world.kube);
    await caughtUp(world);
    expect(world.flanneld.lines(/^[EW]/)).toEqual([]);
  },
  TEST_MS,
);
