// --ip-blackhole-route: what no pod has is dropped on its node instead of being sent back out by the default route, and real routes go before it.

import { expect, test } from "bun:test";
import { FAMILIES, type Family } from "../../src/ip/family.ts";
import { becomes } from "./becomes.ts";
import { DUAL_STACK, type Node, Underlay } from "./nodes.ts";
import { Pod } from "./pod.ts";

const OPTION: Record<Family, string> = { ipv4: "-4", ipv6: "-6" };

const blackholes = (node: Node) =>
  FAMILIES.flatMap((family) => node.run(`ip ${OPTION[family]} route show type blackhole`).split("\n"))
    .map((line) => line.replace(/ (dev lo|pref medium)/g, "").trim())
    .filter((line) => line !== "");

const wanted = (node: Node) => FAMILIES.map((family) => `blackhole ${node.subnet(family)} proto 70 metric 65535`);

/** An address of the node's subnet that no pod has. */
const unused = (node: Node, family: Family) =>
  node
    .subnet(family)
    .replace(/\.0\/\d+$/, ".200")
    .replace(/::\/\d+$/, "::200");

/** By which device a packet to `address` would go; "" when it is dropped. */
const way = (node: Node, family: Family, address: string) =>
  /dev (\S+)/.exec(
    node.run(`ip ${OPTION[family]} route get ${address} 2>/dev/null || true`).replace(/dev lo.*/, ""),
  )?.[1] ?? "";

test("--ip-blackhole-route drops what no pod has, stands up to drift, and goes with the flag", async () => {
  await using underlay = await Underlay.open({ nodes: 2, config: DUAL_STACK });
  const [node, peer] = [underlay.node(1), underlay.node(2)];
  const without = await node.flanneld().ready();
  await peer.flanneld().ready();
  for (const family of FAMILIES) expect(way(node, family, unused(node, family))).toBe("eth0");
  await without.stop();

  const flanneld = await node.flanneld({ flags: ["--ip-blackhole-route"] }).ready();
  await becomes(() => blackholes(node), wanted(node));
  for (const family of FAMILIES) expect(way(node, family, unused(node, family))).toBe("");

  // A pod by its own route, as plugins without a bridge make it, and then a whole subnet behind cni0.
  node.run(`ip link add pod0 type veth peer name pod1 && ip link set pod0 up && ip link set pod1 up`);
  for (const family of FAMILIES) {
    node.run(`ip ${OPTION[family]} route add ${unused(node, family)} dev pod0`);
    expect(way(node, family, unused(node, family))).toBe("pod0");
  }
  using pod = new Pod(underlay, node);
  using other = new Pod(underlay, peer);
  for (const family of FAMILIES) await becomes(() => other.ping(pod.address[family]), 3);

  node.run(`ip route delete ${wanted(node)[0]}; ip -6 route flush type blackhole`);
  await becomes(() => blackholes(node), wanted(node));
  await flanneld.stop();
  expect(blackholes(node)).toEqual(wanted(node));

  await node.flanneld().peers(1);
  await becomes(() => blackholes(node), []);
});
