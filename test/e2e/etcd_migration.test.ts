// A network moves from etcd v2 to v3 while it runs: flannelctl migrate keeps both sides in step, the nodes change over one by one, and packets go through between
// all of them all the while.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { becomes } from "./becomes.ts";
import { EtcdStore } from "./etcd_store.ts";
import { FLANNELD, type Node, Underlay } from "./nodes.ts";
import { until } from "./program.ts";
import { leaseKey } from "./store.ts";
import { PingStream } from "./traffic.ts";

const FLANNELCTL = join(FLANNELD, "../flannelctl");

test("three nodes move from etcd v2 to v3, and no packet between them is lost", async () => {
  await using underlay = await Underlay.open({
    nodes: 4,
    families: ["ipv4"],
    etcd: { members: 3, enableV2: true, api: "2" },
  });
  const { cluster, nodes } = underlay;
  const [first, second, third, fourth] = nodes as [Node, Node, Node, Node];
  const [old, next] = [new EtcdStore(cluster, "2"), new EtcdStore(cluster, "3")];
  const store = `--etcd-endpoints=${cluster.endpoints.join(",")}`;
  const flannelctl = (...words: string[]) => first.finished([FLANNELCTL, ...words, store]);
  const onV2 = await Promise.all([first, second, third].map((node) => node.flanneld().ready()));
  await Promise.all(onV2.map((daemon) => daemon.peers(2)));
  const subnets = [first, second, third].map((node) => node.subnet());
  const macs = nodes.map((node) => node.link()?.mac);
  const pings = await Promise.all([
    PingStream.start(first, second.overlay()),
    PingStream.start(second, third.overlay()),
    PingStream.start(third, first.overlay()),
  ]);

  const migrate = first.spawn([FLANNELCTL, "migrate", "--from", "etcd2", "--to", "etcd3", store]);
  await migrate.says(/copied the configuration/);
  const early = await flannelctl("migrate", "--from", "etcd2", "--to", "etcd3", "--finish");
  expect(early.code).toBe(1);
  expect(early.output).toContain(first.address.ipv4);

  const onV3 = [];
  for (const [i, node] of [first, second, third].entries()) {
    expect(await onV2[i]?.stop()).toBe(0);
    const daemon = node.flanneld({ flags: ["--etcd-api=auto"] });
    onV3.push(await daemon.peers(2 + (i > 0 ? 1 : 0)));
    expect(daemon.status?.store?.kind).toBe("etcd3");
    if (i > 0) continue;
    // A node that comes while nodes are on both sides is seen by all of them, and sees them.
    await fourth.flanneld({ flags: ["--etcd-api=auto"] }).peers(3);
    for (const each of [first, second, third]) {
      await until("the fourth's route", () => each.objects().some((line) => line.includes(`route ${fourth.subnet()}`)));
      expect(await each.ping(fourth.overlay())).toBe(3);
    }
  }
  expect([first, second, third].map((node) => node.subnet())).toEqual(subnets);
  expect(nodes.slice(0, 3).map((node) => node.link()?.mac)).toEqual(macs.slice(0, 3));

  await becomes(() => old.keys(), next.keys());
  const verified = await flannelctl("migrate", "--from", "etcd2", "--to", "etcd3", "--verify");
  expect(verified).toMatchObject({ code: 0, output: expect.stringContaining("hold the same") });
  const finished = await flannelctl("migrate", "--from", "etcd2", "--to", "etcd3", "--finish");
  expect(finished).toMatchObject({ code: 0, output: expect.stringContaining("finished") });
  await migrate.stop("SIGTERM");
  cluster.ctl2("rm", "--recursive", "/coreos.com/network");
  for (const stream of pings) expect(await stream.stop()).toBe(0);
  expect(next.keys()).toEqual(nodes.map((node) => leaseKey(node.subnet())).sort());
  expect(onV3.flatMap((daemon) => daemon.lines(/Lease lost/))).toEqual([]);
}, 120_000);
