// The firewall with real packets: a pod behind cni0 on each of two nodes, and a third host that knows nothing of the overlay.

import { expect, test } from "bun:test";
import { FAMILIES } from "../../src/ip/family.ts";
import { becomes } from "./becomes.ts";
import type { Flanneld } from "./flanneld.ts";
import { DUAL_STACK, type Node, Underlay } from "./nodes.ts";
import { FlowStream, Pod, Witness } from "./pod.ts";
import { PingStream } from "./traffic.ts";

const TOOLS = ["iptables", "nftables"] as const;
type Tool = (typeof TOOLS)[number];

const configOf = (tool: Tool) => ({ ...DUAL_STACK, EnableNFTables: tool === "nftables" });
const RESYNC = "--iptables-resync=1";

/** What stands of ours, as the tool lists it. */
function rules(node: Node, tool: Tool): string[] {
  const list =
    tool === "nftables"
      ? "nft list table ip flannel-ipv4; nft list table ip6 flannel-ipv6"
      : "iptables-save; ip6tables-save";
  const lines = node.run(`(${list}) 2>/dev/null || true`).split("\n");
  return tool === "nftables"
    ? lines.filter((line) => line.trim() !== "")
    : lines.filter((line) => /flannel/i.test(line)).map((line) => line.replace(/\[\d+:\d+\]/, ""));
}

interface World extends AsyncDisposable {
  readonly underlay: Underlay;
  readonly node: Node;
  readonly peer: Node;
  readonly outside: Node;
  readonly pod: Pod;
  readonly peerPod: Pod;
  readonly flanneld: Flanneld;
  readonly witness: { readonly outside: Witness; readonly peerPod: Witness };
}

async function open(tool: Tool, flags: readonly string[] = ["--ip-masq"]): Promise<World> {
  const stack = new AsyncDisposableStack();
  try {
    const underlay = stack.use(await Underlay.open({ nodes: 3, config: configOf(tool) }));
    const [node, peer, outside] = [underlay.node(1), underlay.node(2), underlay.node(3)];
    const [flanneld] = await Promise.all(
      [node, peer].map(async (each) => await each.flanneld({ flags: [...flags, RESYNC] }).peers(1)),
    );
    const pod = stack.use(new Pod(underlay, node));
    const peerPod = stack.use(new Pod(underlay, peer));
    const witness = { outside: new Witness(outside.namespace), peerPod: new Witness(peerPod.namespace) };
    if (!flanneld) throw new Error("unreachable");
    const owned = stack.move();
    return {
      ...{ underlay, node, peer, outside, pod, peerPod, flanneld, witness },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

test.each(TOOLS)("%s: who is masqueraded, and who keeps its source", async (tool) => {
  await using world = await open(tool);
  const { node, peer, outside, pod, peerPod, witness } = world;
  for (const family of FAMILIES) {
    const ip = family === "ipv4" ? "ip" : "ip6";
    // pod → outside: as the node
    expect(await pod.ping(outside.address[family])).toBe(3);
    expect(witness.outside.sources(family)).toEqual([node.address[family]]);
    // pod → pod of another node: as itself
    expect(await pod.ping(peerPod.address[family])).toBe(3);
    expect(witness.peerPod.sources(family)).toEqual([pod.address[family]]);
    // outside → own pod by DNAT: the source stays
    const icmp = family === "ipv4" ? "icmp" : "icmpv6";
    const forwardTo = (target: string) =>
      node.run(`
        nft add table ${ip} nodeport
        nft flush table ${ip} nodeport
        nft "add chain ${ip} nodeport in { type nat hook prerouting priority -100; }"
        nft add rule ${ip} nodeport in ${ip} daddr ${node.address[family]} ${icmp} type echo-request dnat to ${target}`);
    const ownWitness = new Witness(pod.namespace);
    forwardTo(pod.address[family]);
    expect(await outside.ping(node.address[family])).toBe(3);
    expect(ownWitness.sources(family)).toEqual([outside.address[family]]);
    // outside → pod of another node by DNAT: as this node's overlay, so that the answer comes back this way
    forwardTo(peerPod.address[family]);
    expect(await outside.ping(node.address[family])).toBe(3);
    const masked = witness.peerPod.sources(family);
    expect(masked).toHaveLength(1);
    expect(masked).not.toEqual([outside.address[family]]);
    node.run(`nft delete table ${ip} nodeport`);
    // node → pod of another node
    expect(await node.ping(peerPod.address[family])).toBe(3);
    witness.peerPod.sources(family);
    // multicast: the source stays
    witness.outside.sources(family);
    const group = family === "ipv4" ? "224.0.0.1" : "ff02::1%eth0";
    await peer.finished(["ping", "-n", "-c", "1", "-W", "1", "-I", peer.overlay(family), "-I", "eth0", group]);
    expect(witness.outside.sources(family)).toEqual([peer.overlay(family)]);
  }
});

test("iptables: what the host would drop is forwarded, and not without the rules", async () => {
  await using world = await open("iptables");
  const { node, outside, pod, flanneld } = world;
  node.run("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
  for (const family of FAMILIES) expect(await pod.ping(outside.address[family])).toBe(3);
  await flanneld.stop();
  await node.flanneld({ flags: ["--ip-masq", "--iptables-forward-rules=false"] }).peers(1);
  await becomes(() => rules(node, "iptables").filter((line) => line.includes("FLANNEL-FWD")), []);
  for (const family of FAMILIES) expect(await pod.ping(outside.address[family], 1)).toBe(0);
});

test.each(TOOLS)("%s: flushed rules come back", async (tool) => {
  await using world = await open(tool);
  const { node, flanneld } = world;
  const before = rules(node, tool);
  expect(before.length).toBeGreaterThan(10);
  const damages =
    tool === "nftables"
      ? ["nft flush ruleset", "nft flush chain ip flannel-ipv4 postrtg", "nft add rule ip6 flannel-ipv6 forward drop"]
      : ["iptables -t nat -F", "iptables -F FORWARD", "ip6tables -D FLANNEL-FWD 1", "iptables -A FLANNEL-FWD -j DROP"];
  for (const [i, damage] of damages.entries()) {
    node.run(damage);
    await becomes(() => rules(node, tool).sort(), before.toSorted());
    await becomes(() => flanneld.lines(/repaired: .* rules of ipv/).length > i, true);
  }
});

/** Restarts of flanneld on node 1 that come while packets flow: as before, with other rules, by the other tool. */
const RESTARTS: readonly {
  readonly signal: "SIGTERM" | "SIGKILL";
  readonly tool: (tool: Tool) => Tool;
  readonly flags: readonly string[];
}[] = [
  { signal: "SIGTERM", tool: (tool) => tool, flags: [] },
  { signal: "SIGKILL", tool: (tool) => tool, flags: ["--ip-masq-fully-random-disable"] },
  { signal: "SIGTERM", tool: (tool) => (tool === "iptables" ? "nftables" : "iptables"), flags: [] },
];

test.each(TOOLS)("%s: restarts, changed rules and the change of tool let no packet out unmasqueraded", async (tool) => {
  await using world = await open(tool);
  const { underlay, node, outside, pod, witness } = world;
  let { flanneld } = world;
  const flows = new FlowStream(pod, outside.address.ipv4);
  const pings = await PingStream.start(pod, outside.address.ipv4);
  for (const { signal, tool: next, flags } of RESTARTS) {
    const before = rules(node, tool);
    await flanneld.stop(signal);
    expect(rules(node, tool)).toEqual(before);
    await underlay.store.configure(configOf(next(tool)));
    flanneld = await node.flanneld({ flags: ["--ip-masq", RESYNC, ...flags] }).peers(1);
    await pings.goesOn();
    if (next(tool) === tool) continue;
    await becomes(() => rules(node, tool), []);
    expect(rules(node, next(tool)).length).toBeGreaterThan(10);
  }
  expect(await pings.stop()).toBe(0);
  const sent = await flows.stop();
  expect(sent).toBeGreaterThan(500);
  expect(witness.outside.sources("ipv4")).toEqual([node.address.ipv4]);
  expect(witness.outside.flows).toBe(sent);
});

test.each(TOOLS)("%s: with both flags off nothing is left", async (tool) => {
  await using underlay = await Underlay.open({ nodes: 1, config: configOf(tool) });
  const node = underlay.node(1);
  await (await node.flanneld({ flags: ["--ip-masq"] }).ready()).stop();
  expect(rules(node, tool)).not.toEqual([]);
  await node.flanneld({ flags: ["--iptables-forward-rules=false"] }).ready();
  await becomes(() => rules(node, tool), []);
});

test("without the program that EnableNFTables asks for, flanneld says so and ends", async () => {
  await using underlay = await Underlay.open({ nodes: 1, config: configOf("nftables") });
  const flanneld = underlay.node(1).flanneld({ under: ["env", "PATH=/nonexistent"] });
  expect(await flanneld.exit()).not.toBe(0);
  expect(flanneld.output).toContain("EnableNFTables: got true, want the program nft on this host");
});
