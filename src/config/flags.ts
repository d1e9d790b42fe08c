// flanneld's options: command line first, then FLANNELD_… variables, then defaults. All that is wrong is named at once.

import { ConfigError, type Fault } from "./fault.ts";
import { defaultOf, type Flag, type FlagValue, readFlagValue, shownText } from "./flag.ts";
import { type GivenText, parseCommandLine, parseEnvironment } from "./flag_parser.ts";
import { FLAGS } from "./flag_table.ts";

type Camel<Name extends string> = Name extends `${infer Head}-${infer Tail}` | `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;

/** The value of every flag, etcd-prefix as `etcdPrefix`. */
export type Options = {
  readonly [F in (typeof FLAGS)[number] as Camel<F["name"]>]: FlagValue<F>;
};

export type Origin = GivenText["from"] | "default";

/** What the command line asks for. */
export type Invocation =
  | { readonly kind: "help" }
  | { readonly kind: "version" }
  | {
      readonly kind: "run";
      readonly options: Options;
      /** Where each option's value is from. */
      readonly origins: Readonly<Record<keyof Options, Origin>>;
      /** What to tell the operator, one line each. */
      readonly notices: readonly string[];
    };

/** `args` without the program's name. Throws ConfigError naming every fault. */
export function parseFlags(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Invocation {
  const flags: readonly Flag[] = FLAGS;
  const commandLine = parseCommandLine(args, flags);
  if (commandLine.help) return { kind: "help" };
  const variables = parseEnvironment(environment, flags);
  const faults: Fault[] = [...commandLine.faults];
  const notices: string[] = [...variables.notices];
  const values: Record<string, FlagValue<Flag>> = {};
  const origins: Record<string, Origin> = {};
  for (const flag of flags) {
    const given = commandLine.given.get(flag.name) ?? variables.given.get(flag.name) ?? [];
    const value = readGiven(flag, given, faults);
    const key = optionName(flag);
    values[key] = value;
    origins[key] = given[0]?.from ?? "default";
    // A boolean that is off asks for nothing.
    if (!flag.later || !given[0] || value === false) continue;
    const { where, text } = given[0];
    if (flag.later.use === "notice") notices.push(`${where}: ${flag.later.say}`);
    else faults.push({ where, got: shownText(flag, text), want: flag.later.say });
  }
  const options = values as Options;
  if (options.version && commandLine.faults.length === 0) return { kind: "version" };
  faults.push(...etcdFaults(options));
  const { storeFile, kubeSubnetMgr } = options;
  if (storeFile !== "" && kubeSubnetMgr)
    faults.push({ where: "--kube-subnet-mgr", got: "true", want: "it or --store-file: two stores are two networks" });
  const given = (group: string) =>
    flags
      .filter((flag) => flag.group === group && origins[optionName(flag)] !== "default")
      .map(({ name }) => `--${name}`);
  const etcd = given("etcd");
  if (etcd.length > 0 && (storeFile !== "" || kubeSubnetMgr))
    notices.push(
      `${etcd.join(", ")}: no effect: --${kubeSubnetMgr ? "kube-subnet-mgr" : "store-file"} names the store`,
    );
  const kubernetes = given("Kubernetes").filter((name) => name !== "--kube-subnet-mgr");
  if (kubernetes.length > 0 && !kubeSubnetMgr)
    notices.push(`${kubernetes.join(", ")}: no effect without --kube-subnet-mgr`);
  if (faults.length > 0) throw new ConfigError(faults);
  return { kind: "run", options, origins: origins as Record<keyof Options, Origin>, notices };
}

/** What is wrong between etcd's flags. A CA alone is right. */
function etcdFaults({ etcdCertfile, etcdKeyfile, etcdUsername, etcdPassword }: Options): Fault[] {
  const faults: Fault[] = [];
  if (etcdCertfile !== "" && etcdKeyfile === "")
    faults.push({ where: "--etcd-keyfile", got: undefined, want: `the key of ${etcdCertfile}` });
  if (etcdKeyfile !== "" && etcdCertfile === "")
    faults.push({ where: "--etcd-certfile", got: undefined, want: `the certificate of ${etcdKeyfile}` });
  if (etcdPassword !== "" && etcdUsername === "")
    faults.push({ where: "--etcd-username", got: undefined, want: "the user whose password is given" });
  return faults;
}

/** The value of all that was given to one flag: every one of a repeated flag, the last of any other, as Go's. */
function readGiven(flag: Flag, given: readonly GivenText[], faults: Fault[]): FlagValue<Flag> {
  const values: FlagValue<Flag>[] = [];
  for (const { text, where } of given) {
    const reading = readFlagValue(flag, text);
    if ("value" in reading) values.push(reading.value);
    else faults.push({ where, got: shownText(flag, text), want: reading.want });
  }
  if (values.length === 0) return defaultOf(flag);
  return flag.kind === "repeated" ? (values.flat() as string[]) : values.at(-1);
}

function optionName(flag: Flag): string {
  return flag.name.replace(/[-_](.)/g, (_, letter: string) => letter.toUpperCase());
}
