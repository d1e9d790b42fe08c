// Pods as a container runtime would make them from subnet.env: a bridge with the subnet's first address on the node,
// and on it one veth per pod.

import type { Address } from "../../ip/address.ts";
import { familiesOf, mapFamilies, type PerFamily } from "../../ip/family.ts";
import { addressAt, makePrefix, type Prefix, prefixFamily, prefixLength } from "../../ip/prefix.ts";
import { type LabNode, type LabPod, nodad, podAddress } from "./layout.ts";
import { ipBatch } from "./run.ts";
import { together } from "./together.ts";

/** What pods need of subnet.env. */
export interface NodeSubnet {
  /** Without host bits. */
  readonly subnet: PerFamily<Prefix>;
  /** Bytes. */
  readonly mtu: number;
}

/** Makes a node's pods and returns their addresses by pod name. */
export async function makePods(
  node: LabNode,
  { subnet, mtu }: NodeSubnet,
  signal: AbortSignal,
): Promise<Record<string, PerFamily<Address>>> {
  await ipBatch(node.namespace, bridgeLines(node, { subnet, mtu }), signal);
  const pods = node.pods.map((pod) => (stop: AbortSignal) => ipBatch(pod.namespace, podLines(pod, subnet), stop));
  await together(pods, signal);
  return Object.fromEntries(
    node.pods.map((pod) => [pod.name, mapFamilies(subnet, (prefix) => podAddress(prefix, pod.index))]),
  );
}

export function bridgeLines(node: LabNode, { subnet, mtu }: NodeSubnet): string[] {
  return [
    `link add cni0 mtu ${mtu} type bridge mcast_snooping 0`,
    ...eachFamily(subnet, (prefix) => [addressLine(bridgeAddress(prefix), prefix, "cni0")]),
    "link set cni0 up",
    ...node.pods.flatMap(({ index, namespace }) => [
      `link add veth${index + 1} mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${namespace}`,
      `link set veth${index + 1} master cni0 up`,
    ]),
  ];
}

export function podLines(pod: LabPod, subnet: PerFamily<Prefix>): string[] {
  return [
    "link set lo up",
    "link set eth0 up",
    ...eachFamily(subnet, (prefix) => [
      addressLine(podAddress(prefix, pod.index), prefix, "eth0"),
      `route add default via ${bridgeAddress(prefix)} dev eth0`,
    ]),
  ];
}

function eachFamily(subnet: PerFamily<Prefix>, lines: (prefix: Prefix) => string[]): string[] {
  return familiesOf(subnet).flatMap((family) => {
    const prefix = subnet[family];
    return prefix ? lines(prefix) : [];
  });
}

function bridgeAddress(subnet: Prefix): Address {
  return addressAt(subnet, 1n);
}

function addressLine(address: Address, subnet: Prefix, dev: string): string {
  return `address add ${makePrefix(address, prefixLength(subnet))} dev ${dev}${nodad(prefixFamily(subnet))}`;
}
