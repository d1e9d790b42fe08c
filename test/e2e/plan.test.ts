// `flannelctl plan`: its lines are commands, and doing them by hand leaves flanneld nothing to do.

import { expect, test } from "bun:test";
import { dirname, join, resolve } from "node:path";
import { NETWORK, type Node, Underlay } from "./nodes.ts";
import { peerLease } from "./store.ts";
import { UDP } from "./udp.ts";

const flannelctl = join(dirname(resolve(process.env.FLANNELD ?? "dist/flanneld")), "flannelctl");

function plan(node: Node, storeFile: string): string {
  return node.run(`${flannelctl} plan -- --store-file=${storeFile} --ip-masq`);
}

const RULES = {
  iptables: [...Array(7).fill("iptables -t nat"), ...Array(4).fill("iptables -t filter")],
  nftables: [
    "nft 'add table",
    "nft 'add chain",
    ...Array(5).fill("nft 'add rule"),
    "nft 'add chain",
    ...Array(2).fill("nft 'add rule"),
  ],
} as const;

test.each(["iptables", "nftables"] as const)(
  "flannelctl plan: prints commands that a shell can run, and after them there is nothing to do: rules by %s",
  async (tool) => {
    const config = { ...NETWORK, EnableNFTables: tool === "nftables" };
    await using underlay = await Underlay.open({ nodes: 1, config });
    const node = underlay.node(1);
    await underlay.store.put(peerLease(2).key, peerLease(2).value);
    const before = node.objects();
    const printed = plan(node, underlay.storeFile);
    expect(node.objects()).toEqual(before); // it only tells
    expect(await underlay.store.keys()).toEqual([peerLease(2).key]);
    const commands = printed.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    expect(commands.map((command) => command.split(" ").slice(0, 3).join(" "))).toEqual([
      "ip link add",
      "ip link set",
      "ip address replace",
      "ip neighbour replace",
      "bridge fdb replace",
      "ip nexthop replace",
      "ip route replace",
      ...RULES[tool],
    ]);
    node.run(commands.join(" && "));
    expect(plan(node, underlay.storeFile)).toContain("# nothing to do: 8 objects stand as wanted");
    node.run("ip neighbour flush dev flannel.1 nud permanent");
    expect(plan(node, underlay.storeFile)).toMatch(/^ip neighbour replace .* dev flannel\.1 nud permanent$/m);
  },
);

test("flannelctl plan: what only a running flanneld can see is named in one line, and shown with --all", async () => {
  await using underlay = await Underlay.open({ nodes: 1, config: UDP });
  const node = underlay.node(1);
  const lease = { PublicIP: "192.168.77.2", PublicIPv6: null };
  for (const n of [2, 3]) await underlay.store.put(`10.5.${n}.0-24`, { ...lease, PublicIP: `192.168.77.${n}` });
  await node.flanneld({ flags: ["--ip-masq"] }).ready();
  const loop = "packet loop dev flannel0 udp 192.168.77.1:8285";
  const printed = plan(node, underlay.storeFile);
  expect(printed).toContain(`# not looked at: ${loop} and 2 more that belong to it; only the flanneld that runs`);
  expect(printed).toMatch(/^# nothing to do: \d+ objects stand as wanted$/m);
  expect(printed).not.toContain("# start:");
  const all = node.run(`${flannelctl} plan --all -- --store-file=${underlay.storeFile} --ip-masq`);
  expect(all.split("\n").filter((line) => line.startsWith("# start:"))).toHaveLength(3);
  expect(all).not.toContain("not looked at");
});
