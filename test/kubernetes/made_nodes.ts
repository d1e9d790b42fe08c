// Nodes that nobody runs, as large as real ones: what a kubelet says of itself, images and all, and what flannel says of it.

/** Below 65,536: node n has the subnet 10.(16 + n / 256).(n % 256).0/24, or one of 10.5.0.0/16 below 256. */
export function madeSubnet(n: number): string {
  return n < 256 ? `10.5.${n}.0/24` : `10.${16 + (n >> 8)}.${n & 255}.0/24`;
}

export function madePublicIp(n: number): string {
  return n < 256 ? `192.168.77.${n}` : `172.${16 + (n >> 12)}.${(n >> 4) & 255}.${1 + (n & 15)}`;
}

export function madeMac(n: number): string {
  const byte = (value: number) => (value & 255).toString(16).padStart(2, "0");
  return `02:00:00:00:${byte(n >> 8)}:${byte(n)}`;
}

export function flannelAnnotations(n: number, prefix = "flannel.alpha.coreos.com/"): Record<string, string> {
  return {
    [`${prefix}backend-data`]: JSON.stringify({ VNI: 1, VtepMAC: madeMac(n) }),
    [`${prefix}backend-type`]: "vxlan",
    [`${prefix}kube-subnet-manager`]: "true",
    [`${prefix}public-ip`]: madePublicIp(n),
  };
}

/** Bytes of JSON that a node has without images and managedFields, and that those have. */
const BARE_BYTES = 1_970;
const MANAGED_BYTES = 1_840;
const IMAGE_BYTES = 211;

/** A Node as POST takes it; one for which a size is given is as a server has it, with managedFields, and of about so many bytes. */
export function madeNode(n: number, bytes?: number): object {
  const forImages = bytes === undefined ? 0 : bytes - BARE_BYTES - MANAGED_BYTES;
  const images = Array.from({ length: Math.max(0, Math.round(forImages / IMAGE_BYTES)) }, (_, i) => ({
    names: [
      `registry.example/team-${i}/a-program-of-some-kind@sha256:${`${i}`.padStart(64, "0123456789abcdef")}`,
      `registry.example/team-${i}/a-program-of-some-kind:v1.${i}.0`,
    ],
    sizeBytes: 100_000_000 + i,
  }));
  return {
    metadata: {
      name: `made-${n}`,
      annotations: { ...flannelAnnotations(n), "node.alpha.kubernetes.io/ttl": "0" },
      labels: { "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": `made-${n}`, "kubernetes.io/os": "linux" },
      ...(bytes !== undefined && { managedFields: managedFields(n) }),
    },
    spec: { podCIDR: madeSubnet(n), podCIDRs: [madeSubnet(n)] },
    status: {
      addresses: [
        { address: madePublicIp(n), type: "InternalIP" },
        { address: `made-${n}`, type: "Hostname" },
      ],
      allocatable: { cpu: "4", memory: "16Gi", pods: "110" },
      capacity: { cpu: "4", memory: "16Gi", pods: "110" },
      conditions: [
        condition("NetworkUnavailable", "False", "FlannelIsUp", "Flannel is running on this node"),
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
      images,
    },
  };
}

/** Who set what, as kube-apiserver keeps it: kubelet, kube-controller-manager, and flannel. */
function managedFields(n: number): readonly object[] {
  const none = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, {}]));
  const written = (manager: string, fieldsV1: object, subresource?: string) => ({
    manager,
    operation: "Update",
    apiVersion: "v1",
    time: "2026-11-22T08:49:02Z",
    fieldsType: "FieldsV1",
    fieldsV1,
    ...(subresource !== undefined && { subresource }),
  });
  const whole = none([
    ".",
    "f:lastHeartbeatTime",
    "f:lastTransitionTime",
    "f:message",
    "f:reason",
    "f:status",
    "f:type",
  ]);
  const keyOf = (type: string) => `k:{"type":"${type}"}`;
  const beating = ["DiskPressure", "MemoryPressure", "PIDPressure", "Ready"];
  const labels = ["f:kubernetes.io/arch", "f:kubernetes.io/hostname", "f:kubernetes.io/os"];
  return [
    written("kubelet", {
      "f:metadata": {
        "f:annotations": none([".", "f:volumes.kubernetes.io/controller-managed-attach-detach"]),
        "f:labels": none([".", "f:beta.kubernetes.io/arch", "f:beta.kubernetes.io/os", ...labels]),
      },
    }),
    written("kube-controller-manager", {
      "f:metadata": { "f:annotations": none(["f:node.alpha.kubernetes.io/ttl"]) },
      "f:spec": { "f:podCIDR": {}, "f:podCIDRs": none([".", `v:"${madeSubnet(n)}"`]) },
    }),
    written(
      "flanneld",
      {
        "f:metadata": { "f:annotations": none(Object.keys(flannelAnnotations(n)).map((name) => `f:${name}`)) },
        "f:status": { "f:conditions": { [keyOf("NetworkUnavailable")]: whole } },
      },
      "status",
    ),
    written(
      "kubelet",
      {
        "f:status": {
          "f:conditions": Object.fromEntries(
            beating.map((type) => [
              keyOf(type),
              type === "Ready"
                ? none(["f:lastHeartbeatTime", "f:lastTransitionTime", "f:message", "f:reason", "f:status"])
                : none(["f:lastHeartbeatTime"]),
            ]),
          ),
          "f:images": {},
          "f:nodeInfo": none(["f:bootID", "f:containerRuntimeVersion", "f:kernelVersion", "f:kubeletVersion"]),
        },
      },
      "status",
    ),
  ];
}

/** What a kubelet patches when nothing has changed. */
export function heartbeat(now = new Date()): object {
  const lastHeartbeatTime = now.toISOString();
  return { status: { conditions: [{ type: "Ready", lastHeartbeatTime }] } };
}

function condition(type: string, status: string, reason: string, message: string): object {
  const time = "2026-11-22T08:49:02Z";
  return { type, status, reason, message, lastHeartbeatTime: time, lastTransitionTime: time };
}
