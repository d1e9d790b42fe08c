// `flannelctl release --plain`: a node that our flanneld has left is made Go flannel's while its pods talk. What Go flannel then does with it is seen with the
// program itself, where FLANNEL_GO gives it (go_flannel.ts); without, deleting as Go deletes is done by ip(8), which makes the same request.

import { describe, expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { FAMILIES, type Family } from "../../src/ip/family.ts";
import type { Prefix } from "../../src/ip/prefix.ts";
import { formatLeaseKey } from "../../src/lease/key.ts";
import { becomes } from "./becomes.ts";
import { GO_FLANNELS, startGo } from "./go_flannel.ts";
import { DUAL_STACK, FLANNELD, type Node, Underlay } from "./nodes.ts";
import { Pod } from "./pod.ts";
import { PingStream } from "./traffic.ts";

const TEST_MS = 120_000;
const FLANNELCTL = join(dirname(FLANNELD), "flannelctl");
const BACKENDS = [
  ["vxlan", {}],
  ["vxlan", { DirectRouting: true }],
  ["host-gw", {}],
] as const;

const release = (node: Node, ...options: readonly string[]) =>
  node.finished([FLANNELCTL, "release", ...options, "--", `--subnet-file=${node.subnetFile}`]);
const left = (node: Node) => node.run("ip route show proto 70; ip -6 route show proto 70; ip nexthop show proto 70");
const lines = (text: string) => text.split("\n").filter((each) => each !== "");

/** Routes to peers' subnets, as `ip` shows them. */
const routesTo = (node: Node, family: Family) =>
  lines(node.run(`ip ${family === "ipv6" ? "-6 " : ""}route show proto boot`)).filter((each) =>
    /^(?:10\.5\.|fd00:5:)\S*\/\d+ .*via /.test(each),
  );

describe.each(BACKENDS)("%s %j", (type, options) => {
  const config = { ...DUAL_STACK, Backend: { Type: type, ...options } };

  test(
    "routes are rewritten under pods that talk, and no packet is lost; they are found as Go names them",
    async () => {
      await using underlay = await Underlay.open({ nodes: 2, config });
      const [node, other] = [underlay.node(1), underlay.node(2)];
      const daemon = node.flanneld();
      const mate = other.flanneld();
      await Promise.all([daemon.peers(1), mate.peers(1)]);
      using here = new Pod(underlay, node);
      using there = new Pod(underlay, other);

      const early = await release(node, "--plain");
      expect(early).toEqual({
        code: 1,
        output: expect.stringMatching(/cannot release this node: flanneld runs, process \d+/),
      });
      const unsaid = await release(node);
      expect(unsaid).toEqual({ code: 2, output: expect.stringContaining("cannot release without --plain") });
      await daemon.stop();

      const before = left(node);
      const { output } = await release(node, "--plain", "--dry-run");
      expect(left(node)).toBe(before);
      expect(lines(output).map((each) => each.replace(/ \S+\/\d+.*| id .*/, ""))).toEqual([
        "ip route replace",
        "ip -6 route replace",
        "ip nexthop delete",
        "ip nexthop delete",
      ]);

      const streams = await Promise.all(
        FAMILIES.flatMap((family) => [
          PingStream.start(here, there.address[family]),
          PingStream.start(there, here.address[family]),
        ]),
      );
      const done = await release(node, "--plain", "--json");
      expect(await Promise.all(streams.map((stream) => stream.stop()))).toEqual(streams.map(() => 0));
      expect(JSON.parse(done.output)).toEqual({ done: true, steps: lines(output), faults: [], remarks: [] });
      expect([left(node), done.code]).toEqual(["", 0]);
      expect(await release(node, "--plain")).toEqual({ code: 0, output: expect.stringContaining("nothing to do") });

      for (const family of FAMILIES) {
        const [route = "", ...more] = routesTo(node, family);
        expect([route, more]).toEqual([expect.stringContaining(other.subnet(family)), []]);
        const [, dst, gateway, dev] = /^(\S+) via (\S+) dev (\S+)/.exec(route) ?? [];
        node.run(`ip ${family === "ipv6" ? "-6 " : ""}route delete ${dst} via ${gateway} dev ${dev}`);
        expect(routesTo(node, family)).toEqual([]);
      }
      // Ours takes the node back, and puts right what was done to it.
      await node.flanneld().peers(1);
      for (const family of FAMILIES) expect(await here.ping(there.address[family])).toBe(3);
    },
    TEST_MS,
  );

  for (const go of GO_FLANNELS.filter(({ api }) => api === "3")) {
    test(
      `${go.title}: takes the node, and follows peers that leave and join`,
      async () => {
        await using underlay = await Underlay.open({ nodes: 4, config, etcd: { members: 1, api: "3" } });
        const [node, stays, leaves, joins] = underlay.nodes as [Node, Node, Node, Node];
        const daemons = [node, stays, leaves].map((each) => each.flanneld());
        await Promise.all(daemons.map((daemon) => daemon.peers(2)));
        using here = new Pod(underlay, node);
        using there = new Pod(underlay, stays);
        const streams = await Promise.all(
          FAMILIES.flatMap((family) => [
            PingStream.start(here, there.address[family]),
            PingStream.start(there, here.address[family]),
          ]),
        );
        await daemons[0]?.stop();
        expect((await release(node, "--plain")).code).toBe(0);
        await startGo(go, underlay, node);
        const lost = await Promise.all(streams.map((stream) => stream.stop()));
        expect(lost).toEqual(streams.map(() => 0));

        const subnets = (family: Family) =>
          routesTo(node, family)
            .map((each) => each.split(" ")[0])
            .sort();
        const wanted =
          (...nodes: readonly Node[]) =>
          (family: Family) =>
            nodes.map((each) => each.subnet(family)).sort();
        const follow = async (expected: (family: Family) => string[]) => {
          for (const family of FAMILIES) await becomes(() => subnets(family), expected(family));
        };
        await follow(wanted(stays, leaves));
        await daemons[2]?.stop();
        const gone = formatLeaseKey({ ipv4: leaves.subnet() as Prefix, ipv6: leaves.subnet("ipv6") as Prefix });
        underlay.cluster.ctl("del", `/coreos.com/network/subnets/${gone}`);
        await follow(wanted(stays));
        await joins.flanneld().peers(2);
        await follow(wanted(stays, joins));
        using newcomer = new Pod(underlay, joins);
        for (const family of FAMILIES) {
          expect(await newcomer.ping(here.address[family])).toBe(3);
          expect(await here.ping(newcomer.address[family])).toBe(3);
        }
      },
      TEST_MS,
    );
  }
});

test("udp: the device that nobody serves any more is deleted with its route, and no other", async () => {
  const config = { Network: "10.5.0.0/16", Backend: { Type: "udp" } };
  await using underlay = await Underlay.open({ nodes: 1, families: ["ipv4"], config });
  const node = underlay.node(1);
  const daemon = await node.flanneld().ready();
  await daemon.stop();
  node.run("ip tuntap add flannel7 mode tun; ip address add 10.9.0.0/32 dev flannel7"); // another network's
  expect(await release(node, "--plain")).toEqual({ code: 0, output: "ip link delete flannel0\n" });
  expect(node.run("ip -o link show").match(/flannel\d/g)).toEqual(["flannel7"]);
  await node.flanneld().ready();
});
