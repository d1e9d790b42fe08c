// CNI_ARGS (CNI specification 1.1.0, section 2): "IP=10.5.1.7;K8S_POD_NAME=a;IgnoreUnknown=1". A plugin refuses what it does not know, unless IgnoreUnknown
// says otherwise, as kubelet and containerd do.

import { CNI_CODE, CniError } from "./cni_error.ts";

const TRUE = ["1", "true"];

/** The values of those of `known` that are given. Throws CniError. */
export function readCniArgs<K extends string>(args: string, known: readonly K[]): Partial<Record<K, string>> {
  const values: Partial<Record<K, string>> = {};
  if (args === "") return values;
  const unknown: string[] = [];
  let ignoreUnknown = false;
  for (const pair of args.split(";")) {
    const [key = "", value, ...more] = pair.split("=");
    if (value === undefined || more.length > 0) {
      throw new CniError(CNI_CODE.environment, `cannot read CNI_ARGS: got ${JSON.stringify(pair)}, want KEY=VALUE`);
    }
    const name = known.find((candidate) => candidate === key);
    if (name) values[name] = value;
    else if (key === "IgnoreUnknown") ignoreUnknown = TRUE.includes(value.toLowerCase());
    else unknown.push(pair);
  }
  if (unknown.length > 0 && !ignoreUnknown) {
    const message = `cannot read CNI_ARGS: unknown args ${unknown.join(" ")}; remove them or add IgnoreUnknown=1`;
    throw new CniError(CNI_CODE.environment, message);
  }
  return values;
}
