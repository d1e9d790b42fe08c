// `flannelctl ipam`: the addresses that host-local has given to this node's containers, and those that nobody gave back. In place of the scripts that delete
// files below /var/lib/cni/networks by a timer.

import { type Command, Option } from "commander";
import { ageMs } from "./duration.ts";
import type { Session } from "./session.ts";

/** As host-local and flannel have them when a configuration names none. */
const DATA_DIR = "/var/lib/cni/networks";
const STATE_DIR = "/var/lib/cni/flannel";
const SUBNET_FILE = "/run/flannel/subnet.env";
/** Longer than any runtime waits for a pod to be set up: until then only host-local may know of it. */
const OLDER_THAN = "5m";

export interface IpamFlags {
  readonly dataDir: string;
  readonly stateDir: string;
  readonly subnetFile: string;
  readonly network?: string;
  readonly containerd: readonly string[];
  readonly olderThan: number;
  readonly ownPidNamespace: boolean;
  readonly json: boolean;
}

export interface GcFlags extends IpamFlags {
  readonly dryRun: boolean;
  readonly yes: boolean;
}

export function ipam(program: Command, session: Session): void {
  const group = program.command("ipam").description("show, check and free the addresses of this node's containers");

  const list = group
    .command("ls")
    .description("list all addresses that host-local has given out, who has them, and which are leaked")
    .action((flags: IpamFlags) =>
      session.run(async (signal) => (await import("./ipam/commands.ts")).list(flags, session, signal)),
    );
  addOptions(list);
  list.addHelpText(
    "after",
    "\nAn address is used when a network namespace of this host has it, leaked when none has and no container runtime knows the container,\n" +
      "and unknown where that cannot be told.\n\nExamples:\n  flannelctl ipam ls\n  flannelctl ipam ls --network=cbr0 --json",
  );

  const check = group
    .command("check")
    .description("say how full the ranges are and why; exit code 1 when addresses are leaked")
    .action((flags: IpamFlags) =>
      session.run(async (signal) => (await import("./ipam/commands.ts")).check(flags, session, signal)),
    );
  addOptions(check);
  check.addHelpText(
    "after",
    "\nExamples:\n  flannelctl ipam check\n  flannelctl ipam check --data-dir=/run/cni/networks",
  );

  const gc = group
    .command("gc")
    .description("free the leaked addresses; used and unknown ones are never touched")
    .option("--dry-run", "only say what would be freed", false)
    .option("--yes", "do not ask", false)
    .action((flags: GcFlags) =>
      session.run(async (signal) => (await import("./ipam/commands.ts")).collect(flags, session, signal)),
    );
  addOptions(gc);
  gc.addHelpText("after", "\nExamples:\n  flannelctl ipam gc --dry-run\n  flannelctl ipam gc --yes --older-than=1h");
}

function addOptions(command: Command): void {
  const several = (path: string, before: readonly string[]) => [...before, path];
  command
    .option("--data-dir <path>", "where host-local keeps its addresses (ipam.dataDir)", DATA_DIR)
    .option("--state-dir <path>", "where the plugin flannel keeps its state (dataDir)", STATE_DIR)
    .option("--subnet-file <path>", "what flanneld wrote, for the range of a network without state", SUBNET_FILE)
    .option("--network <name>", "only the network of this name; all by default")
    .addOption(
      new Option("--containerd <socket>", "ask this containerd too; may be given several times")
        .argParser(several)
        .default([], "those of containerd, k3s, RKE2 and MicroK8s that are there"),
    )
    .addOption(
      new Option("--older-than <time>", "what is younger is not called leaked: its container may be starting")
        .argParser(ageMs)
        .default(ageMs(OLDER_THAN), OLDER_THAN),
    )
    .option("--own-pid-namespace", "this container is the whole node (kind, LXC): all its processes are seen", false)
    .option("--json", "print the outcome as JSON", false);
}
