// Where a command that only shows leases reads them: any store, and Kubernetes, reached by flanneld's flags or else as kubectl does.

import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { LeaseSource } from "../subnet/registry.ts";
import { kubernetesOptions, meansKubernetes, openStore, type StoreFlags, storeChoiceOf } from "./store_options.ts";

type Environment = Readonly<Record<string, string | undefined>>;

export async function openLeases(
  flags: StoreFlags,
  environment: Environment,
  signal: AbortSignal,
): Promise<LeaseSource> {
  if (!meansKubernetes(flags, environment))
    return await openStore(storeChoiceOf(flags, environment), { make: false }, signal);
  const options = kubernetesOptions(flags, environment);
  const { openApi } = await import("../daemon/open_kubernetes.ts");
  const { KubernetesLeases } = await import("../subnet/kubernetes/leases.ts");
  const { kubeApiUrl, kubeAnnotationPrefix: annotationPrefix, netConfigPath: configPath } = options;
  const named = options.kubeconfigFile !== "" || kubeApiUrl !== "";
  const kubeconfigFile = named ? options.kubeconfigFile : (kubectlsFile(environment) ?? "");
  const api = openApi({ kubeconfigFile, kubeApiUrl }, environment);
  return new KubernetesLeases(api, { annotationPrefix, configPath });
}

/** The first of $KUBECONFIG, else ~/.kube/config; undefined where there is none, as in a pod. */
function kubectlsFile({ KUBECONFIG, HOME = homedir() }: Environment): string | undefined {
  const first = KUBECONFIG?.split(":").find((path) => path !== "");
  const usual = join(HOME, ".kube/config");
  return first ?? (existsSync(usual) ? usual : undefined);
}
