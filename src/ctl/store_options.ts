// Which store a command is about, said with flanneld's own flags and FLANNELD_… variables, so that what a unit file or an environment
// file has works here as it stands. Names, defaults, checks and help come from the one flag table.

import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import { defaultText, environmentName, type Flag } from "../config/flag.ts";
import { FLAGS } from "../config/flag_table.ts";
import { type Options, parseFlags } from "../config/flags.ts";
import { refuseKubernetes, storeChoice } from "../daemon/open_manager.ts";
import { openRegistry, type StoreChoice } from "../subnet/open.ts";
import type { Registry } from "../subnet/registry.ts";
import { StoreError } from "../subnet/store_error.ts";

const NAMES = [
  "store-file",
  "etcd-endpoints",
  "etcd-discovery-srv",
  "etcd-prefix",
  "etcd-api",
  "etcd-cafile",
  "etcd-certfile",
  "etcd-keyfile",
  "etcd-username",
  "etcd-password",
] as const;

type Name = (typeof NAMES)[number];

const KUBERNETES_NAMES = ["kubeconfig-file", "kube-api-url", "kube-annotation-prefix", "net-config-path"] as const;

/** What commander read, by option; only what was given. */
export type StoreFlags = Readonly<Record<string, unknown>>;

type Environment = Readonly<Record<string, string | undefined>>;

interface Which {
  /** "from-" makes a second set for another store. */
  readonly prefix?: string;
  readonly without?: readonly Name[];
  /** For commands that read leases wherever they are. */
  readonly kubernetes?: boolean;
}

/** Adds the options. */
export function addStoreOptions(command: Command, { prefix = "", without = [], kubernetes = false }: Which = {}): void {
  const group = prefix === "" ? "Store, as flanneld's flags and variables say it:" : "The old store, where it differs:";
  for (const flag of storeFlags(without)) {
    const value = flag.kind === "choice" ? flag.choices.join("|") : (flag.value ?? "TEXT");
    command.addOption(new Option(`--${prefix}${flag.name} <${value}>`, helpOf(flag, prefix)).helpGroup(group));
  }
  if (kubernetes) {
    const group = "Kubernetes, likewise; without them kubectl's own kubeconfig is taken:";
    command.addOption(new Option("--kube-subnet-mgr", "the leases are those of Kubernetes nodes").helpGroup(group));
    for (const flag of flagsNamed(KUBERNETES_NAMES))
      command.addOption(new Option(`--${flag.name} <${flag.value ?? "TEXT"}>`, helpOf(flag, "")).helpGroup(group));
  } else if (prefix === "") command.addOption(new Option("--kube-subnet-mgr").hideHelp()); // understood, to say why not
}

function storeFlags(without: readonly Name[] = []): Flag[] {
  return flagsNamed(NAMES.filter((name) => !without.includes(name)));
}

function flagsNamed(names: readonly string[]): Flag[] {
  const flags: readonly Flag[] = FLAGS;
  return names.flatMap((name) => flags.filter((flag) => flag.name === name));
}

function helpOf(flag: Flag, prefix: string): string {
  if (prefix !== "") return `in place of --${flag.name}`;
  const usual = defaultText(flag);
  const remarks = [...(usual === "" ? [] : [`default ${usual}`]), environmentName(flag)];
  return `${flag.help} (${remarks.join("; ")})`;
}

/**
 * The store of keys that options and environment name; options with `prefix` go before those without. Throws ConfigError naming all that is
 * wrong.
 */
export function storeChoiceOf(flags: StoreFlags, environment: Environment, prefix = ""): StoreChoice {
  if (meansKubernetes(flags, environment)) refuseKubernetes();
  return storeChoice(optionsOf(storeFlags(), flags, environment, prefix));
}

/** Whether options or environment say that Kubernetes has the leases. */
export function meansKubernetes(flags: StoreFlags, environment: Environment): boolean {
  return flags.kubeSubnetMgr === true || environment.FLANNELD_KUBE_SUBNET_MGR === "true";
}

/** Flanneld's options for Kubernetes as options and environment name them. Throws ConfigError naming all that is wrong. */
export function kubernetesOptions(flags: StoreFlags, environment: Environment): Options {
  return optionsOf(flagsNamed(KUBERNETES_NAMES), flags, environment, "");
}

function optionsOf(known: readonly Flag[], flags: StoreFlags, environment: Environment, prefix: string): Options {
  const args = known.flatMap(({ name }) => {
    const given = flags[camelCase(`${prefix}${name}`)] ?? flags[camelCase(name)];
    return typeof given === "string" ? [`--${name}=${given}`] : [];
  });
  const variables = new Set(known.map(environmentName));
  const relevant = Object.fromEntries(Object.entries(environment).filter(([name]) => variables.has(name)));
  const invocation = parseFlags(args, relevant);
  if (invocation.kind !== "run") throw new RangeError("Cannot take a store from --help or --version");
  return invocation.options;
}

/** commander's name of an option. */
function camelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The store of a command. `make`: an embedded one that is not there is made; else that is an error, as a misspelt path would be. */
export async function openStore(
  choice: StoreChoice,
  { make }: { readonly make: boolean },
  signal: AbortSignal,
): Promise<Registry> {
  if (choice.kind === "embedded" && !make && !existsSync(choice.path)) {
    throw new StoreError(
      "absent",
      choice.path,
      `cannot open the embedded store ${choice.path}: there is no such file; flannelctl config set makes one`,
    );
  }
  return await openRegistry(choice, signal);
}

/** The key that holds the network configuration, for messages and for other programs. */
export function configKey(choice: StoreChoice): string {
  return choice.kind === "embedded" ? "config" : `${choice.etcd.prefix}/config`;
}
