// The subnet manager over Kubernetes, as flags, environment and the pod's own files say. Loaded only where it is asked for.

import { version } from "../../package.json";
import { ConfigError } from "../config/fault.ts";
import type { Options } from "../config/flags.ts";
import { isJsonObject } from "../config/json_fields.ts";
import { type ClusterAccess, podAccess, urlAccess } from "../subnet/kubernetes/access.ts";
import { KubeApi } from "../subnet/kubernetes/api.ts";
import { readKubeconfig } from "../subnet/kubernetes/kubeconfig.ts";
import { KUBERNETES_RETRY, KubernetesManager } from "../subnet/kubernetes/manager.ts";
import { API_TIMING } from "../subnet/kubernetes/transport.ts";
import type { SubnetManager } from "../subnet/manager.ts";
import { StoreError } from "../subnet/store_error.ts";
import { StoreRetry, type SubnetEvent } from "../subnet/store_retry.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Throws ConfigError when it is not said where the API server or which node this is, StoreError when the pod that should say it cannot be read. */
export async function openKubernetes(
  options: Options,
  onEvent: (event: SubnetEvent) => void,
  signal: AbortSignal,
  environment: Environment = process.env,
): Promise<SubnetManager> {
  const api = openApi(options, environment);
  try {
    const retry = new StoreRetry(KUBERNETES_RETRY, Math.random, onEvent);
    const nodeName = await nameOfNode(api, retry, environment, signal);
    const { kubeAnnotationPrefix: annotationPrefix, netConfigPath: configPath } = options;
    const setCondition = options.setNodeNetworkUnavailable;
    return new KubernetesManager(api, { nodeName, annotationPrefix, configPath, setCondition, onEvent });
  } catch (error) {
    api[Symbol.dispose]();
    throw error;
  }
}

/** The API server that flags and environment name. Throws ConfigError when they name none. */
export function openApi(
  options: Pick<Options, "kubeconfigFile" | "kubeApiUrl">,
  environment: Environment = process.env,
): KubeApi {
  return new KubeApi(clusterAccess(options, environment), API_TIMING, version);
}

/** --kubeconfig-file, with the server of --kube-api-url where both are given; the URL alone; else the pod's service account. */
function clusterAccess(
  { kubeconfigFile, kubeApiUrl }: Pick<Options, "kubeconfigFile" | "kubeApiUrl">,
  environment: Environment,
): ClusterAccess {
  if (kubeconfigFile !== "") {
    const access = readKubeconfig(kubeconfigFile, environment);
    return kubeApiUrl === "" ? access : { ...access, server: urlAccess(kubeApiUrl, environment).server };
  }
  if (kubeApiUrl !== "") return urlAccess(kubeApiUrl, environment);
  const access = podAccess(environment);
  if (access) return access;
  const want = "a kubeconfig, or --kube-api-url, since this is no pod (KUBERNETES_SERVICE_HOST is not set)";
  throw new ConfigError([{ where: "--kubeconfig-file", got: undefined, want }]);
}

/** Waits for the API server; what it does not know it will not know later either, since the pod is running. */
async function nameOfNode(
  api: KubeApi,
  retry: StoreRetry,
  environment: Environment,
  signal: AbortSignal,
): Promise<string> {
  const { NODE_NAME: node, POD_NAME: pod, POD_NAMESPACE: namespace } = environment;
  if (node) return node;
  if (!pod || !namespace) {
    const want =
      "this node's name, or POD_NAME and POD_NAMESPACE (env POD_NAME and POD_NAMESPACE must be set in a pod)";
    throw new ConfigError([{ where: "NODE_NAME", got: undefined, want }]);
  }
  const read = () => api.pod(namespace, pod, signal);
  const found = await retry.persist("reading this pod", ["invalid", "absent"], read, signal);
  const spec = isJsonObject(found) && isJsonObject(found.spec) ? found.spec : {};
  if (typeof spec.nodeName === "string" && spec.nodeName !== "") return spec.nodeName;
  throw new StoreError(
    "invalid",
    api.server,
    `cannot tell this node's name: pod ${namespace}/${pod} has no spec.nodeName; set NODE_NAME`,
  );
}
