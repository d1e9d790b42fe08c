// What packaging/kubernetes and docs have from the values and the objects of an installation: one manifest, the base for kustomize, and the table of values.
// `make kubernetes` writes them; a test compares.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NAMESPACE } from "../install.ts";
import { manifestOf } from "./commands.ts";
import { netConf } from "./net_conf.ts";
import { LABELS, namespaceObject, objectsOf } from "./objects.ts";
import type { Schema } from "./schema.ts";
import { DEFAULTS, SCHEMA, valuesOf } from "./values.ts";
import { yamlOf } from "./yaml.ts";

const DOCUMENT = "docs/kubernetes-install.md";
const [BEGIN, END] = ["<!-- values: by make kubernetes -->\n", "<!-- end of values -->"];
const MADE = "# By make kubernetes; flannelctl install --kubernetes makes one of your own.\n";

/** Path below the project's folder → text. */
export function generatedFiles(root: string): ReadonlyMap<string, string> {
  const values = valuesOf();
  const base = "packaging/kubernetes/base";
  const kustomization = {
    apiVersion: "kustomize.config.k8s.io/v1beta1",
    kind: "Kustomization",
    resources: ["namespace.yaml", "flannel.yaml"],
    // Its name gets a hash: nodes that have the old configuration are started again when it changes.
    configMapGenerator: [{ name: "kube-flannel-cfg", namespace: NAMESPACE, files: ["cni-conf.json", "net-conf.json"] }],
    generatorOptions: { labels: LABELS },
  };
  const document = readFileSync(join(root, DOCUMENT), "utf8");
  const [before, rest] = document.split(BEGIN);
  const [, after] = rest?.split(END) ?? [];
  if (before === undefined || after === undefined) throw new Error(`cannot find the table of values in ${DOCUMENT}`);
  return new Map([
    ["packaging/kubernetes/flannel.yml", MADE + yamlOf(manifestOf(values, NAMESPACE))],
    [`${base}/kustomization.yaml`, MADE + yamlOf([kustomization])],
    [`${base}/namespace.yaml`, MADE + yamlOf([namespaceObject(NAMESPACE)])],
    [`${base}/flannel.yaml`, MADE + yamlOf(objectsOf(values, NAMESPACE).filter(({ kind }) => kind !== "ConfigMap"))],
    [`${base}/cni-conf.json`, values.flannel.cniConf],
    [`${base}/net-conf.json`, netConf(values)],
    [DOCUMENT, `${before}${BEGIN}${table()}${END}${after}`],
  ]);
}

function table(): string {
  const rows = leaves(SCHEMA, DEFAULTS, "").map(
    ([name, value, description]) => `| \`${name}\` | ${value} | ${description} |\n`,
  );
  return `| value | default | |\n|---|---|---|\n${rows.join("")}`;
}

function leaves(schema: Schema, value: unknown, name: string): [string, string, string][] {
  if (schema.description !== undefined) return [[name, defaultText(value), schema.description]];
  return Object.entries(schema.properties ?? {}).flatMap(([key, inner]) => {
    const below = (value as Readonly<Record<string, unknown>> | undefined)?.[key];
    return leaves(inner, below, name === "" ? key : `${name}.${key}`);
  });
}

function defaultText(value: unknown): string {
  if (value === "" || value === undefined) return "";
  if (typeof value === "string" && value.includes("\n")) return "upstream's, with `cniVersions`";
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

if (import.meta.main) {
  const root = join(import.meta.dir, "../../..");
  for (const [path, text] of generatedFiles(root)) writeFileSync(join(root, path), text);
}
