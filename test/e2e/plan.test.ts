// `flannelctl plan`: its lines are commands, and doing them by hand leaves flanneld nothing to do.

import { expect, test } from "bun:test";
import { dirname, join, resolve } from "node:path";
import { NETWORK, type Node, Underlay } from "./nodes.ts";
import { peerLease } from "./store.ts";

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
