// The values that shape an installation in Kubernetes: those of the Helm chart, with its defaults and its schema, so that one values file serves Helm and
// `flannelctl install --kubernetes`. Merged as Helm merges: mappings key by key, lists and the rest as wholes, null takes a default away.

import { version } from "../../../package.json";
import schema from "../../../packaging/kubernetes/chart/values.schema.json";
import defaults from "../../../packaging/kubernetes/chart/values.yaml" with { type: "text" };
import { ConfigError } from "../../config/fault.ts";
import { isJsonObject } from "../../config/json_fields.ts";
import type { Container, DaemonSetPod } from "./kinds.ts";
import { faultsOf, type Schema } from "./schema.ts";

type Mapping = Readonly<Record<string, unknown>>;
type Image = { readonly repository: string; readonly tag: string };

/** Checked; what the schema lets be null is absent instead. */
export interface Values {
  readonly global?: { readonly imagePullSecrets?: DaemonSetPod["imagePullSecrets"] };
  readonly podCidr?: string;
  readonly podCidrv6?: string;
  readonly flannel: {
    readonly image: { readonly repository: string; readonly tag?: string; readonly pullPolicy: string };
    readonly flannel_cni?: { readonly image?: Partial<Image> };
    readonly cniBinDir: string;
    readonly cniConfDir: string;
    readonly skipCNIConfigInstallation: boolean;
    readonly enableNFTables: boolean;
    readonly args: readonly string[];
    readonly extraArgs: readonly string[];
    readonly extraEnv?: NonNullable<Container["env"]>;
    readonly extraVolumes?: NonNullable<DaemonSetPod["volumes"]>;
    readonly extraVolumeMounts?: NonNullable<Container["volumeMounts"]>;
    readonly backend: string;
    readonly backendOptions?: Mapping;
    readonly netConfSecret?: string;
    readonly cniConf: string;
    readonly resources?: NonNullable<Container["resources"]>;
    readonly healthz: { readonly port?: number; readonly livenessProbe?: Mapping; readonly readinessProbe?: Mapping };
    readonly tolerations?: NonNullable<DaemonSetPod["tolerations"]>;
    readonly nodeSelector?: NonNullable<DaemonSetPod["nodeSelector"]>;
    readonly priorityClassName?: string;
    readonly uninstall: boolean;
  };
  readonly netpol: { readonly enabled: boolean; readonly args: readonly string[]; readonly image: Image };
}

export const SCHEMA = schema as Schema;

/** Those of values.yaml. */
export const DEFAULTS = Bun.YAML.parse(defaults) as Mapping;

/** The defaults with what was given laid over them, later ones over earlier ones. Throws ConfigError naming every fault. */
export function valuesOf(...given: readonly Mapping[]): Values {
  const merged = given.reduce<Mapping>(merge, DEFAULTS);
  const faults = faultsOf(merged, SCHEMA, "");
  if (faults.length > 0) throw new ConfigError(faults);
  return merged as unknown as Values;
}

function merge(below: Mapping, above: Mapping): Mapping {
  const merged: Record<string, unknown> = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const old = merged[key];
    if (value === null) delete merged[key];
    else merged[key] = isJsonObject(old) && isJsonObject(value) ? merge(old, value) : value;
  }
  return merged;
}

/** "repository:tag". */
export function imageOf({ flannel }: Values): string {
  return `${flannel.image.repository}:${flannel.image.tag || version}`;
}
