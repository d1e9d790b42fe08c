// `flannelctl install-cni`: puts the CNI plugin, the plugins that it has built in, and its configuration where container runtimes look for them. In place of
// the init containers that copy files, and of the package of reference plugins.

import { type Command, Option } from "commander";
import type { Action } from "./install_cni/action.ts";
import { type Session, UsageError } from "./session.ts";
import { line } from "./terminal.ts";

/** Where kubelet, containerd, CRI-O and podman look unless told otherwise. */
const BIN_DIR = "/opt/cni/bin";
const CONF_DIR = "/etc/cni/net.d";

interface Flags {
  readonly binDir: string;
  readonly confDir: string;
  /** A file, false for --no-conf, true when neither was said. */
  readonly conf: string | boolean;
  readonly plugins: boolean;
  readonly cniVersions: boolean;
  readonly force: boolean;
  readonly uninstall: boolean;
  readonly json: boolean;
}

export function installCni(program: Command, session: Session): void {
  program
    .command("install-cni")
    .description("install the CNI plugin with its configuration for container runtimes, or take them away again")
    .option("--bin-dir <path>", "where the runtime looks for plugins", BIN_DIR)
    .option("--conf-dir <path>", "where the runtime looks for configurations", CONF_DIR)
    .addOption(
      new Option("--conf <file>", "install this configuration instead of flannel's usual one").default(
        true,
        "the usual one",
      ),
    )
    .option("--no-conf", "leave configurations alone")
    .option("--no-plugins", "leave plugins alone")
    .option(
      "--cni-versions",
      "let newer runtimes use newer CNI versions, with STATUS and GC, up to 1.1.0, as far as the plugins there have them",
      false,
    )
    .option("--force", "also replace plugins and configurations of others", false)
    .option("--uninstall", "remove what this command installed", false)
    .option("--json", "for programs", false)
    .addHelpText(
      "after",
      "\nInstalled are flannel and, where they are missing, bridge, host-local, portmap and loopback: one file under five names.\n\n" +
        "Examples:\n  flannelctl install-cni\n  flannelctl install-cni --bin-dir=/usr/lib/cni --no-conf\n  flannelctl install-cni --uninstall",
    )
    .action((flags: Flags) => session.run(async () => await perform(flags, session)));
}

async function perform(flags: Flags, session: Session): Promise<number> {
  const conf = typeof flags.conf === "string" ? flags.conf : undefined;
  if (flags.cniVersions && flags.conf === false) {
    throw new UsageError("cannot use --cni-versions with --no-conf: it is about the configuration");
  }
  const { executableOf, installPlugins, removePlugins } = await import("./install_cni/plugins.ts");
  const { installConf, removeConf } = await import("./install_cni/conf.ts");
  const { binDir, confDir, force } = flags;
  const actions: Action[] = [];
  // A runtime takes a node for ready once there is a configuration: so it comes last, and goes first.
  try {
    if (flags.uninstall) {
      if (flags.conf !== false) actions.push(...removeConf(confDir, conf));
      if (flags.plugins) actions.push(...removePlugins(binDir));
    } else {
      if (flags.plugins) actions.push(...installPlugins(executableOf(process.execPath), binDir, force));
      if (flags.conf !== false)
        actions.push(installConf({ binDir, confDir, file: conf, newVersions: flags.cniVersions, force }));
    }
  } finally {
    if (flags.json) line(session.out, JSON.stringify(actions, undefined, 2));
    else for (const action of actions) line(session.out, sentence(action));
  }
  return 0;
}

function sentence({ done, path, why }: Action): string {
  return `${done} ${path}${why === undefined ? "" : `: ${why}`}`;
}
