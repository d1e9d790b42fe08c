// What an installation in Kubernetes consists of. The Helm chart says the same in templates; a test renders it and compares. Names and labels are upstream's, so
// that this takes the place of Go flannel by being applied over it.

import { daemonSet } from "./daemon_set.ts";
import type { Installed } from "./kinds.ts";
import { netConf, netConfPlace } from "./net_conf.ts";
import type { Values } from "./values.ts";

export const LABELS = { tier: "node", app: "flannel" } as const;

/** All but the namespace, which Helm makes itself. */
export function objectsOf(values: Values, namespace: string): Installed[] {
  return [...rights(values, namespace), ...configuration(values, namespace), daemonSet(values, namespace)];
}

/** flannel's pods use the node's network and directories, which only the level `privileged` of the pod security standards allows. */
export function namespaceObject(name: string): Installed {
  const labels = { "k8s-app": "flannel", "pod-security.kubernetes.io/enforce": "privileged" };
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

function rights({ netpol }: Values, namespace: string): Installed[] {
  const metadata = { name: "flannel", labels: LABELS };
  const reading = ["get", "list", "watch"];
  const rules = [
    { apiGroups: [""], resources: ["nodes"], verbs: reading },
    { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
    ...(netpol.enabled
      ? [
          { apiGroups: [""], resources: ["pods", "namespaces"], verbs: reading },
          { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["list", "watch"] },
          {
            apiGroups: ["policy.networking.k8s.io"],
            resources: ["adminnetworkpolicies", "baselineadminnetworkpolicies"],
            verbs: ["list", "watch"],
          },
        ]
      : []),
  ];
  const group = "rbac.authorization.k8s.io";
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { ...metadata, namespace } },
    { apiVersion: `${group}/v1`, kind: "ClusterRole", metadata, rules },
    {
      apiVersion: `${group}/v1`,
      kind: "ClusterRoleBinding",
      metadata,
      roleRef: { apiGroup: group, kind: "ClusterRole", name: "flannel" },
      subjects: [{ kind: "ServiceAccount", name: "flannel", namespace }],
    },
  ];
}

function configuration(values: Values, namespace: string): Installed[] {
  const metadata = { name: "kube-flannel-cfg", namespace, labels: LABELS };
  const place = netConfPlace(values);
  const network = { "net-conf.json": netConf(values) };
  const data = { "cni-conf.json": values.flannel.cniConf, ...(place === "config map" && network) };
  const map: Installed = { apiVersion: "v1", kind: "ConfigMap", metadata, data };
  const secret: Installed = { apiVersion: "v1", kind: "Secret", metadata, type: "Opaque", stringData: network };
  return place === "own secret" ? [map, secret] : [map];
}
