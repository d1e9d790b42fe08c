// What a lab consists of, before anything of it is made: names, underlay addresses and paths. Pure, so that `lab
// down` finds what a crashed `lab up` left by computing the same names, and no two labs can share one.
//
//   flab-<lab>-sw        br0 192.168.77.1/24 fd00:77::1/64 ── p1 … pN      the underlay's switch
//   flab-<lab>-n1        eth0 192.168.77.11 fd00:77::11, flannel.1, cni0   a node: its own network, its own /run
//   flab-<lab>-n1p1      eth0, the second address of the node's subnet     a pod

import { join } from "node:path";
import { type Address, parseAddress } from "../../ip/address.ts";
import type { Family, PerFamily } from "../../ip/family.ts";
import { addressAt, type Prefix } from "../../ip/prefix.ts";

/** A lab is gone after a reboot, and so is what lies in /run. */
export const STATE_ROOT = "/run/flannel-lab";

export const MAX_NODES = 200;
export const MAX_PODS = 50;

const LAB_NAME = /^[a-z0-9][a-z0-9-]{0,15}$/;
const NAMESPACE_NAME = /^flab-([a-z0-9][a-z0-9-]{0,15})-(?:sw|n\d+(?:p\d+)?)$/;

export interface LabOptions {
  readonly name: string;
  readonly nodes: number;
  /** Pods on each node. */
  readonly pods: number;
  readonly families: readonly Family[];
  /** Backend type of the network configuration. */
  readonly backend: string;
  /** The backend's options, where it is not to be as it is by default. */
  readonly backendOptions?: Readonly<Record<string, unknown>>;
}

export interface LabPod {
  readonly name: string;
  readonly namespace: string;
  /** 0 for the node's first. */
  readonly index: number;
}

export interface LabNode {
  readonly name: string;
  readonly namespace: string;
  /** Its port on the switch. */
  readonly port: string;
  /** Underlay address: the public IP of its lease. */
  readonly address: PerFamily<Address>;
  /** What the node sees as /run. */
  readonly runDirectory: string;
  readonly subnetFile: string;
  readonly statusFile: string;
  readonly logFile: string;
  readonly pods: readonly LabPod[];
}

export interface Lab {
  readonly options: LabOptions;
  readonly directory: string;
  readonly stateFile: string;
  /** Directory of the store that all nodes share; they see it as /run/store. */
  readonly storeDirectory: string;
  readonly storeFile: string;
  readonly switchNamespace: string;
  readonly nodes: readonly LabNode[];
}

export const UNDERLAY: Record<Family, { readonly gateway: string; readonly length: number }> = {
  ipv4: { gateway: "192.168.77.1", length: 24 },
  ipv6: { gateway: "fd00:77::1", length: 64 },
};

export function isLabName(text: string): boolean {
  return LAB_NAME.test(text);
}

/** The lab that a network namespace belongs to, undefined for one that is none of ours. */
export function labOfNamespace(namespace: string): string | undefined {
  return NAMESPACE_NAME.exec(namespace)?.[1];
}

export function namespacePath(namespace: string): string {
  return join("/run/netns", namespace);
}

export function labDirectory(name: string, root = STATE_ROOT): string {
  return join(root, name);
}

export function layoutOf(options: LabOptions, root = STATE_ROOT): Lab {
  const directory = labDirectory(options.name, root);
  const storeDirectory = join(directory, "store");
  const nodes = Array.from({ length: options.nodes }, (_, i) => nodeOf(options, directory, i + 1));
  return {
    options,
    directory,
    stateFile: join(directory, "state.json"),
    storeDirectory,
    storeFile: join(storeDirectory, "store.db"),
    switchNamespace: `flab-${options.name}-sw`,
    nodes,
  };
}

function nodeOf(options: LabOptions, labPath: string, number: number): LabNode {
  const name = `n${number}`;
  const namespace = `flab-${options.name}-${name}`;
  const runDirectory = join(labPath, name, "run");
  const address: { ipv4?: Address; ipv6?: Address } = {};
  for (const family of options.families) address[family] = underlayAddress(family, number);
  return {
    name,
    namespace,
    port: `p${number}`,
    address,
    runDirectory,
    subnetFile: join(runDirectory, "flannel", "subnet.env"),
    statusFile: join(runDirectory, "flannel", "status.json"),
    logFile: join(labPath, name, "flanneld.log"),
    pods: Array.from({ length: options.pods }, (_, i) => ({
      name: `${name}p${i + 1}`,
      namespace: `${namespace}p${i + 1}`,
      index: i,
    })),
  };
}

/** n1 is .11 and ::11: the same digits in both families read well. */
function underlayAddress(family: Family, number: number): Address {
  const text = family === "ipv4" ? `192.168.77.${number + 10}` : `fd00:77::${number + 10}`;
  const address = parseAddress(text);
  if (!address) throw new RangeError(`Cannot number node ${number}: ${text} is not an address`);
  return address;
}

/** The address of a node's pod: the node's bridge has the first of `subnet` (without host bits), pods follow. */
export function podAddress(subnet: Prefix, index: number): Address {
  return addressAt(subnet, BigInt(index) + 2n);
}

/**
 * For `ip address add`: the check for duplicates would hold an address back for a second, and nobody else can have
 * it.
 */
export function nodad(family: Family): string {
  return family === "ipv6" ? " nodad" : "";
}

/** What the lab writes into its store as the network configuration. */
export function networkConfigOf(options: LabOptions): Record<string, unknown> {
  const [ipv4, ipv6] = [options.families.includes("ipv4"), options.families.includes("ipv6")];
  return {
    ...(ipv4 ? { Network: "10.244.0.0/16" } : { EnableIPv4: false }),
    ...(ipv6 ? { EnableIPv6: true, IPv6Network: "fd00:10:244::/48" } : {}),
    Backend: { Type: options.backend, ...options.backendOptions },
  };
}
