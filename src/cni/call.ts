// What a runtime asks of a plugin, by the environment (CNI specification 1.1.0, section 2 "Execution Protocol").

import { CNI_CODE, CniError } from "./cni_error.ts";

export const VERBS = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] as const;
export type Verb = (typeof VERBS)[number];

export interface Call {
  readonly verb: Verb;
  /** "" where the verb has none (STATUS, GC, VERSION). */
  readonly containerId: string;
  /** Path of the network namespace; "" when the runtime gave none, as it may for DEL. */
  readonly netns: string;
  /** Name of the interface in the container; "" where the verb has none. */
  readonly ifname: string;
  /** CNI_ARGS as given: "K8S_POD_NAME=a;IgnoreUnknown=1". */
  readonly args: string;
  /** Directories of CNI_PATH. */
  readonly path: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Variables that a verb cannot do without. */
const REQUIRED: Record<Verb, readonly string[]> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
  GC: ["CNI_PATH"],
  STATUS: ["CNI_PATH"],
  VERSION: [],
};

/** IFNAMSIZ of linux/if.h, less its NUL. */
const MAX_IFNAME = 15;

/** Throws CniError "environment" naming every variable that is missing or wrong. */
export function readCall(environment: Environment): Call {
  const verb = VERBS.find((known) => known === environment.CNI_COMMAND);
  if (!verb) {
    const got =
      environment.CNI_COMMAND === undefined ? "it is missing" : `got ${JSON.stringify(environment.CNI_COMMAND)}`;
    throw new CniError(CNI_CODE.environment, `cannot read CNI_COMMAND: ${got}, want one of ${VERBS.join(", ")}`);
  }
  const missing = REQUIRED[verb].filter((name) => !environment[name]);
  if (missing.length > 0) {
    throw new CniError(CNI_CODE.environment, `required env variables [${missing.join(",")}] missing`);
  }
  const has = (name: string) => REQUIRED[verb].includes(name);
  const call: Call = {
    verb,
    containerId: has("CNI_CONTAINERID") ? (environment.CNI_CONTAINERID ?? "") : "",
    netns: verb === "DEL" || has("CNI_NETNS") ? (environment.CNI_NETNS ?? "") : "",
    ifname: has("CNI_IFNAME") ? (environment.CNI_IFNAME ?? "") : "",
    args: environment.CNI_ARGS ?? "",
    path: (environment.CNI_PATH ?? "").split(":").filter((directory) => directory !== ""),
  };
  const faults = [
    ...(has("CNI_CONTAINERID") && !isCniName(call.containerId)
      ? [`CNI_CONTAINERID: got ${JSON.stringify(call.containerId)}, want letters, digits, "_", "." and "-"`]
      : []),
    ...(has("CNI_IFNAME") && !isInterfaceName(call.ifname)
      ? [
          `CNI_IFNAME: got ${JSON.stringify(call.ifname)}, want 1 to ${MAX_IFNAME} characters without "/", ":" and blanks`,
        ]
      : []),
  ];
  if (faults.length > 0) throw new CniError(CNI_CODE.environment, faults.join("; "));
  return call;
}

// Characters are looked at one by one here: a pod waits 0.05 ms for the first regular expression of a process.

/** What the reference takes for the id of a container and for the name of a network: letters, digits, and after the first "_", "." and "-". */
export function isCniName(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const lower = code | 0x20;
    const isLetterOrDigit = (lower >= 0x61 && lower <= 0x7a) || (code >= 0x30 && code <= 0x39);
    if (!isLetterOrDigit && (i === 0 || !"_.-".includes(text.charAt(i)))) return false;
  }
  return text !== "";
}

/** As the kernel's dev_valid_name has it. */
export function isInterfaceName(name: string): boolean {
  for (let i = 0; i < name.length; i++) if ("/: \t\n\v\f\r".includes(name.charAt(i))) return false;
  return name.length > 0 && name.length <= MAX_IFNAME && name !== "." && name !== "..";
}
