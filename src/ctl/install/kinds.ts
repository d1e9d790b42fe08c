// The kinds of Kubernetes' API that an installation has, as its own schemas describe them: a field that there is not does not compile.

import type { IDaemonSet } from "kubernetes-models/apps/v1";
import type { IClusterRole, IClusterRoleBinding } from "kubernetes-models/rbac.authorization.k8s.io/v1";
import type { IConfigMap, INamespace, ISecret, IServiceAccount } from "kubernetes-models/v1";

export type DaemonSet = IDaemonSet;
export type DaemonSetPod = NonNullable<NonNullable<NonNullable<IDaemonSet["spec"]>["template"]>["spec"]>;
export type Container = DaemonSetPod["containers"][number];

export type Installed =
  | IClusterRole
  | IClusterRoleBinding
  | IConfigMap
  | IDaemonSet
  | INamespace
  | ISecret
  | IServiceAccount;
