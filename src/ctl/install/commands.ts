// What `flannelctl install --kubernetes` and `uninstall --kubernetes` do.

import { readFileSync } from "node:fs";
import { ConfigError } from "../../config/fault.ts";
import { isJsonObject, quote } from "../../config/json_fields.ts";
import { parseNetworkConfig } from "../../config/net_conf.ts";
import { errnoWords } from "../../daemon/atomic_file.ts";
import { planOf } from "../../daemon/prepare.ts";
import type { Session } from "../session.ts";
import { line } from "../terminal.ts";
import type { Installed } from "./kinds.ts";
import { kubectl } from "./kubectl.ts";
import { netConf, netConfPlace } from "./net_conf.ts";
import { namespaceObject, objectsOf } from "./objects.ts";
import { type Values, valuesOf } from "./values.ts";
import { yamlOf } from "./yaml.ts";

export interface KubernetesFlags {
  readonly kubernetes?: boolean;
  readonly apply?: boolean;
  readonly namespace: string;
  readonly image?: string;
  readonly podCidr?: string;
  readonly podCidrV6?: string;
  readonly backend?: string;
  readonly values?: string;
}

type Mapping = Readonly<Record<string, unknown>>;

/** Namespaces that are there without flannel, and stay as they are. */
const NOT_OURS: readonly string[] = ["kube-system", "default"];
const DAEMON_SET = "daemonset/kube-flannel-ds";
/** A node that does not answer must not let the operator wait for ever. */
const ROLLOUT_TIMEOUT = "10m";

export async function install(flags: KubernetesFlags, session: Session): Promise<number> {
  const values = valuesOf(...given(flags));
  if (netConfPlace(values) !== "given secret") {
    const source = "net-conf.json";
    const { warnings } = planOf(parseNetworkConfig(netConf(values), source), source);
    for (const warning of warnings) line(session.err, `warning: ${warning}`);
  }
  const manifest = yamlOf(manifestOf(values, flags.namespace));
  if (!flags.apply) session.out.write(manifest);
  else await kubectl(["apply", "-f", "-"], manifest, session);
  return 0;
}

export async function uninstall(flags: KubernetesFlags, session: Session): Promise<number> {
  const { namespace } = flags;
  const objects = objectsOf(valuesOf(...given(flags), { flannel: { uninstall: true } }), namespace);
  const manifest = yamlOf(objects);
  if (!flags.apply) {
    session.out.write(manifest);
    return 0;
  }
  await kubectl(["apply", "-f", "-"], manifest, session);
  await kubectl(
    ["--namespace", namespace, "rollout", "status", DAEMON_SET, `--timeout=${ROLLOUT_TIMEOUT}`],
    "",
    session,
  );
  await kubectl(["delete", "--ignore-not-found", "-f", "-"], manifest, session);
  if (!NOT_OURS.includes(namespace))
    line(
      session.err,
      `left is the namespace ${namespace}, which may hold what is yours; kubectl delete namespace ${namespace}`,
    );
  return 0;
}

/** Namespace first: what is in it needs it. */
export function manifestOf(values: Values, namespace: string): Installed[] {
  const own = NOT_OURS.includes(namespace) ? [] : [namespaceObject(namespace)];
  return [...own, ...objectsOf(values, namespace)];
}

/** The values file, and over it the options. */
function given({ values, image, podCidr, podCidrV6, backend }: KubernetesFlags): Mapping[] {
  const flannel = {
    ...(image !== undefined && { image: imageParts(image) }),
    ...(backend !== undefined && { backend }),
  };
  return [
    ...(values === undefined ? [] : [readValues(values)]),
    {
      flannel,
      ...(podCidr !== undefined && { podCidr }),
      ...(podCidrV6 !== undefined && { podCidrv6: podCidrV6 }),
    },
  ];
}

function readValues(file: string): Mapping {
  let values: unknown;
  try {
    values = Bun.YAML.parse(readFileSync(file, "utf8"));
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : errnoWords(error);
    throw new Error(`cannot read ${file}: ${reason}`, { cause: error });
  }
  if (values === null) return {};
  if (isJsonObject(values)) return values;
  throw new ConfigError([{ where: file, got: quote(values), want: "a mapping, as values.yaml of the chart is" }]);
}

/** "repository:tag", where the repository may have a port. */
function imageParts(image: string): Mapping {
  const [, repository, tag] = /^(.+):([\w][\w.-]*)$/.exec(image) ?? [];
  if (repository && tag) return { repository, tag };
  throw new ConfigError([
    { where: "--image", got: image, want: "an image with its tag: registry.example/flannel-ts:0.1.0" },
  ]);
}
