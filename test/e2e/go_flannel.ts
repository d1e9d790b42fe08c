// Go flannel beside ours: the programs whose paths the environment gives, started on nodes of the same underlay.
//
//   FLANNEL_GO        a recent flanneld, which keeps its leases in etcd v3
//   FLANNEL_GO_V071   flanneld v0.7.1, which keeps them in etcd v2
//   FLANNEL_GO_RENEWALS=1   also what takes Go's shortest renewal, a minute
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Api } from "../etcd/recorded.ts";
import type { Node, Underlay } from "./nodes.ts";
import { type Program, until } from "./program.ts";

export interface GoFlannel {
  readonly title: string;
  readonly executable: string;
  readonly api: Api;
  /** When its key is deleted it ends, and its supervisor starts it again; else it takes a new subnet itself. */
  readonly endsWithoutLease: boolean;
  /** It gives a reservation an end when it starts. */
  readonly endsReservations: boolean;
  /** It has a route for each peer, as ours, and takes over the ones that ours left; else one route for all. */
  readonly routePerPeer: boolean;
  readonly dualStack: boolean;
}

const HEAD = {
  title: "Go flannel, etcd v3",
  api: "3",
  endsWithoutLease: true,
  endsReservations: true,
  routePerPeer: true,
  dualStack: true,
} as const;
const V071 = {
  title: "Go flannel v0.7.1, etcd v2",
  api: "2",
  endsWithoutLease: false,
  endsReservations: false,
  routePerPeer: false,
  dualStack: false,
} as const;

/** It waits for its cache, and calls iptables some thirty times; below the 65 s after which a stream of pings counts anew. */
const KUBERNETES_START_MS = 50_000;

const { FLANNEL_GO, FLANNEL_GO_V071 } = process.env;

/** Those that are there; none without the variables. */
export const GO_FLANNELS: readonly GoFlannel[] = [
  ...(FLANNEL_GO ? [{ ...HEAD, executable: FLANNEL_GO }] : []),
  ...(FLANNEL_GO_V071 ? [{ ...V071, executable: FLANNEL_GO_V071 }] : []),
];

/** Starts it on a node, and resolves once it watches the others' leases; subnet.env is then the node's, as ours is. */
export async function startGo(
  { executable }: GoFlannel,
  underlay: Underlay,
  node: Node,
  flags: readonly string[] = [],
): Promise<Program> {
  mkdirSync(dirname(node.subnetFile), { recursive: true });
  const program = node.spawn([
    executable,
    `-etcd-endpoints=${underlay.cluster.endpoints.join(",")}`,
    "-iface=eth0",
    `-subnet-file=${node.subnetFile}`,
    ...flags,
  ]);
  await program.says(/[Ww]atching for new subnet leases/);
  return program;
}

/** The same with the node's Kubernetes as the store: `n` is given its subnets, and is the Node node<n>. */
export async function startGoOnKubernetes({ executable }: GoFlannel, underlay: Underlay, node: Node): Promise<Program> {
  mkdirSync(dirname(node.subnetFile), { recursive: true });
  underlay.kube.assign(node.n);
  // Every kubelet's Node has it; Go's daemon does not survive one without any annotation.
  const ofKubelet = { "volumes.kubernetes.io/controller-managed-attach-detach": "true" };
  await underlay.kube.cluster.annotate(`node${node.n}`, ofKubelet);
  const command = [executable, ...underlay.storeFlags, "-iface=eth0", `-subnet-file=${node.subnetFile}`];
  const program = node.spawn(command, { NODE_NAME: `node${node.n}` });
  const watches = /[Ww]atching for new subnet leases/;
  await until("Go's daemon to watch", () => watches.test(program.output), program, KUBERNETES_START_MS);
  return program;
}
