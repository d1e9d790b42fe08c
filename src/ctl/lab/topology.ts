// The underlay: a switch, and nodes on it. Every link is made inside a lab's own network namespace, never in the
// host's.

import { type Family, familiesOf } from "../../ip/family.ts";
import { type Lab, type LabNode, namespacePath, nodad, UNDERLAY } from "./layout.ts";
import { ipBatch, run, tcBatch } from "./run.ts";

/** All namespaces of a lab at once: `ip netns add` creates, and fails on, names; nothing is taken over. */
export async function makeNamespaces(lab: Lab, signal: AbortSignal): Promise<void> {
  const pods = lab.nodes.flatMap((node) => node.pods.map((pod) => pod.namespace));
  const names = [lab.switchNamespace, ...lab.nodes.map((node) => node.namespace), ...pods];
  await ipBatch(
    undefined,
    names.map((name) => `netns add ${name}`),
    signal,
  );
}

export async function makeSwitch(lab: Lab, signal: AbortSignal): Promise<void> {
  const lines = [
    "link set lo up",
    // Snooping would hold back neighbour discovery until the first multicast query.
    "link add br0 type bridge mcast_snooping 0",
    "link set br0 up",
    ...lab.options.families.map((family) => addressLine(family, UNDERLAY[family].gateway, "br0")),
    ...lab.nodes.flatMap((node) => [
      `link add ${node.port} type veth peer name eth0 netns ${node.namespace}`,
      `link set ${node.port} master br0 up`,
    ]),
  ];
  await ipBatch(lab.switchNamespace, lines, signal);
}

/**
 * What is set before eth0 comes up, by file under /proc/sys/net. Without the check for duplicates (accept_dad),
 * because for its second a link has no valid link-local address, and the kernel asks with that one for the neighbours
 * of packets it forwards or encapsulates.
 */
const NODE_SYSCTLS: Record<Family, Readonly<Record<string, string>>> = {
  ipv4: { "ipv4/ip_forward": "1" },
  ipv6: {
    "ipv6/conf/all/forwarding": "1",
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/eth0/accept_dad": "0",
  },
};

/** A node as flanneld wants to find it: forwarding on, an address and a default route per family on eth0. */
export async function configureNode(node: LabNode, signal: AbortSignal): Promise<void> {
  const families = familiesOf(node.address);
  for (const family of families) await setSysctls(node.namespace, NODE_SYSCTLS[family], signal);
  const lines = [
    "link set lo up",
    "link set eth0 up",
    ...families.map((family) => addressLine(family, node.address[family] ?? "", "eth0")),
    ...families.map((family) => `route add default via ${UNDERLAY[family].gateway} dev eth0`),
  ];
  await ipBatch(node.namespace, lines, signal);
}

function addressLine(family: Family, address: string, dev: string): string {
  return `address add ${address}/${UNDERLAY[family].length} dev ${dev}${nodad(family)}`;
}

/** Sysctls under /proc/sys/net are those of the writer's network namespace. */
async function setSysctls(
  namespace: string,
  values: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<void> {
  const script = Object.entries(values)
    .map(([file, value]) => `echo ${value} >/proc/sys/net/${file}`)
    .join("\n");
  const { code, stderr } = await run(["nsenter", `--net=${namespacePath(namespace)}`, "sh", "-e"], {
    stdin: script,
    signal,
  });
  if (code !== 0) throw new Error(`cannot set sysctls in ${namespace}: ${stderr.trim()}`);
}

/** UDP port of vxlan where the configuration names none. */
const VXLAN_PORT = 8472;

/**
 * Drops vxlan on the switch's ports, and nothing else: the nodes still reach each other. tc's own `drop` and flower,
 * and nft, are modules that small kernels lack; a queue that is too short for any packet (1 byte) needs htb and u32
 * alone.
 */
export async function blockVxlan(lab: Lab): Promise<void> {
  const lines = lab.nodes.flatMap(({ port }) => [
    `qdisc add dev ${port} root handle 1: htb default 10`,
    `class add dev ${port} parent 1: classid 1:10 htb rate 100gbit quantum 60000`,
    `class add dev ${port} parent 1: classid 1:20 htb rate 100gbit quantum 60000`,
    `qdisc add dev ${port} parent 1:20 bfifo limit 1`,
    ...["ip", "ip6"].map((family) => {
      const match = `match ${family} protocol 17 0xff match ${family} dport ${VXLAN_PORT} 0xffff`;
      return `filter add dev ${port} parent 1: protocol ${family === "ip" ? "ip" : "ipv6"} u32 ${match} flowid 1:20`;
    }),
  ]);
  await tcBatch(lab.switchNamespace, lines);
}

export async function unblockVxlan(lab: Lab): Promise<void> {
  await tcBatch(
    lab.switchNamespace,
    lab.nodes.map(({ port }) => `qdisc del dev ${port} root`),
  );
}
