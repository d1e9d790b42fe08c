// The DaemonSet: on each node, plugins and CNI configuration are installed and flanneld runs, with no more rights than it uses.

import { createHash } from "node:crypto";
import type { Container, DaemonSet, DaemonSetPod } from "./kinds.ts";
import { netConf, netConfPlace } from "./net_conf.ts";
import { LABELS } from "./objects.ts";
import { imageOf, type Values } from "./values.ts";

type Volumes = NonNullable<DaemonSetPod["volumes"]>;
type Mounts = NonNullable<Container["volumeMounts"]>;
type Security = NonNullable<Container["securityContext"]>;

/** Where the configurations are in every container; read-only, as kubelet mounts them. */
const CONFIGURATION = { name: "flannel-cfg", mountPath: "/etc/kube-flannel/", readOnly: true } as const;
const CNI_CONF = "--conf=/etc/kube-flannel/cni-conf.json";
const PLUGINS = { name: "cni-plugin", mountPath: "/opt/cni/bin" } as const;
const CONFLIST = { name: "cni", mountPath: "/etc/cni/net.d" } as const;

const CONFINED = { privileged: false, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true } as const;
/** Plugin directories are at times owned by whoever packed an installer's archive. */
const WRITING: Security = {
  ...CONFINED,
  capabilities: { drop: ["ALL"], add: ["DAC_OVERRIDE"] },
};
const IDLE: Security = { ...CONFINED, capabilities: { drop: ["ALL"] } };

export function daemonSet(values: Values, namespace: string): DaemonSet {
  const { flannel, global, netpol } = values;
  const { priorityClassName, tolerations, nodeSelector } = flannel;
  const pullSecrets = global?.imagePullSecrets;
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "kube-flannel-ds", namespace, labels: LABELS },
    spec: {
      selector: { matchLabels: { app: LABELS.app } },
      // flanneld is replaced node by node; it is taken away everywhere at once.
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: flannel.uninstall ? "100%" : 1 } },
      template: {
        // flanneld reads its configuration when it starts.
        metadata: { labels: LABELS, annotations: { "checksum/config": sha256(netConf(values) + flannel.cniConf) } },
        spec: {
          affinity: LINUX,
          hostNetwork: true,
          ...(priorityClassName && { priorityClassName }),
          serviceAccountName: "flannel",
          ...(isFilled(pullSecrets) && { imagePullSecrets: pullSecrets }),
          ...(isFilled(tolerations) && { tolerations }),
          ...(isFilled(nodeSelector) && { nodeSelector }),
          securityContext: { seccompProfile: { type: "RuntimeDefault" } },
          initContainers: flannel.uninstall ? [uninstaller(values)] : installers(values),
          containers: [
            flannel.uninstall ? idle(values) : daemon(values),
            ...(netpol.enabled ? [policies(values)] : []),
          ],
          volumes: volumesOf(values),
        },
      },
    },
  };
}

const LINUX: NonNullable<DaemonSetPod["affinity"]> = {
  nodeAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/os", operator: "In", values: ["linux"] }] }],
    },
  },
};

/** The image and whether it is pulled. */
function ours(values: Values): Pick<Container, "image" | "imagePullPolicy"> {
  const policy = values.flannel.image.pullPolicy as NonNullable<Container["imagePullPolicy"]>;
  return { image: imageOf(values), imagePullPolicy: policy };
}

/** A runtime takes a node for ready once there is a configuration: so it comes last. */
function installers(values: Values): Container[] {
  const { flannel_cni, skipCNIConfigInstallation } = values.flannel;
  const other = flannel_cni?.image;
  const plugins: Container = {
    name: "install-cni-plugin",
    ...(other?.repository
      ? { image: `${other.repository}:${other.tag}`, command: ["cp", "-f", "/flannel", "/opt/cni/bin/flannel"] }
      : { ...ours(values), command: ["/opt/bin/flannelctl", "install-cni", "--no-conf"] }),
    securityContext: WRITING,
    volumeMounts: [PLUGINS],
  };
  const conf: Container = {
    name: "install-cni",
    ...ours(values),
    command: ["/opt/bin/flannelctl", "install-cni", "--no-plugins", CNI_CONF, "--cni-versions"],
    securityContext: WRITING,
    volumeMounts: [{ ...PLUGINS, readOnly: true }, CONFLIST, CONFIGURATION],
  };
  return skipCNIConfigInstallation ? [plugins] : [plugins, conf];
}

function uninstaller(values: Values): Container {
  return {
    name: "uninstall-cni",
    ...ours(values),
    command: ["/opt/bin/flannelctl", "install-cni", "--uninstall", CNI_CONF],
    securityContext: WRITING,
    volumeMounts: [PLUGINS, CONFLIST, CONFIGURATION],
  };
}

/** Runs when the node is clean, so that the rollout's end says that all are. */
function idle(values: Values): Container {
  return { name: "kube-flannel", ...ours(values), command: ["sleep", "infinity"], securityContext: IDLE };
}

function daemon(values: Values): Container {
  const { args, extraArgs, healthz, resources, backend, extraEnv = [] } = values.flannel;
  const port = healthz.port || undefined;
  // charon binds ports 500 and 4500.
  const capabilities = ["NET_ADMIN", "NET_RAW", ...(backend === "ipsec" ? ["NET_BIND_SERVICE"] : [])];
  return {
    name: "kube-flannel",
    ...ours(values),
    command: ["/opt/bin/flanneld", ...args, ...extraArgs, ...(port ? [`--healthz-port=${port}`] : [])],
    ...(port && {
      ports: [{ name: "healthz", containerPort: port, protocol: "TCP" }],
      livenessProbe: { httpGet: { path: "/healthz", port: "healthz" }, ...healthz.livenessProbe },
      readinessProbe: { httpGet: { path: "/readyz", port: "healthz" }, ...healthz.readinessProbe },
    }),
    ...(isFilled(resources) && { resources }),
    securityContext: { ...CONFINED, capabilities: { drop: ["ALL"], add: capabilities } },
    env: [{ name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }, ...extraEnv],
    volumeMounts: mountsOf(values),
  };
}

function mountsOf({ flannel: { backend, extraVolumeMounts = [] } }: Values): Mounts {
  return [
    ...(backend === "ipsec" ? [{ name: "charon", mountPath: "/run" }] : []),
    { name: "run", mountPath: "/run/flannel" },
    CONFIGURATION,
    { name: "xtables-lock", mountPath: "/run/xtables.lock" },
    // /proc/sys itself is read-only in a container that is not privileged.
    { name: "sysctl-net", mountPath: "/host/proc/sys/net" },
    ...(backend === "udp" ? [{ name: "tun", mountPath: "/dev/net/tun" }] : []),
    ...extraVolumeMounts,
  ];
}

/** kube-network-policies, as upstream's chart runs it. */
function policies({ netpol: { args, image } }: Values): Container {
  return {
    name: "kube-network-policies",
    image: `${image.repository}:${image.tag}`,
    command: ["/bin/netpol", ...args],
    env: [{ name: "MY_NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }],
    resources: { requests: { cpu: "100m", memory: "50Mi" } },
    securityContext: { privileged: true, capabilities: { add: ["NET_ADMIN"] } },
    volumeMounts: [{ name: "lib-modules", mountPath: "/lib/modules", readOnly: true }],
  };
}

function volumesOf(values: Values): Volumes {
  const { backend, cniBinDir, cniConfDir, extraVolumes = [] } = values.flannel;
  const volumes: Volumes = [
    { name: "run", hostPath: { path: "/run/flannel", type: "DirectoryOrCreate" } },
    { name: "cni-plugin", hostPath: { path: cniBinDir, type: "DirectoryOrCreate" } },
    { name: "cni", hostPath: { path: cniConfDir, type: "DirectoryOrCreate" } },
    configurationVolume(values),
    { name: "xtables-lock", hostPath: { path: "/run/xtables.lock", type: "FileOrCreate" } },
    { name: "sysctl-net", hostPath: { path: "/proc/sys/net", type: "Directory" } },
  ];
  if (backend === "ipsec") volumes.push({ name: "charon", emptyDir: { medium: "Memory" } });
  if (backend === "udp") volumes.push({ name: "tun", hostPath: { path: "/dev/net/tun", type: "CharDevice" } });
  if (values.netpol.enabled) volumes.push({ name: "lib-modules", hostPath: { path: "/lib/modules" } });
  return [...volumes, ...extraVolumes];
}

function configurationVolume(values: Values): Volumes[number] {
  const name = "kube-flannel-cfg";
  if (netConfPlace(values) === "config map") return { name: "flannel-cfg", configMap: { name } };
  const secret = {
    name: values.flannel.netConfSecret || name,
    items: [{ key: "net-conf.json", path: "net-conf.json" }],
  };
  return { name: "flannel-cfg", projected: { sources: [{ configMap: { name } }, { secret }] } };
}

/** Helm leaves out what is empty. */
function isFilled<T extends object>(value: T | undefined): value is T {
  return value !== undefined && Object.keys(value).length > 0;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
