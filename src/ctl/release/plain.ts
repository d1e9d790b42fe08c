// `flannelctl release --plain`: on whose behalf, and whether it may be done now.

import { readFileSync } from "node:fs";
import { daemonOf } from "../../cni/flannel/daemon.ts";
import { ConfigError } from "../../config/fault.ts";
import { parseFlags } from "../../config/flags.ts";
import { parseSubnetEnv, previousLease } from "../../config/subnet_env.ts";
import { requireNetAdmin } from "../../daemon/privilege.ts";
import { familiesOf, type PerFamily } from "../../ip/family.ts";
import type { Prefix } from "../../ip/prefix.ts";
import { CHARON_FILES, runningCharon } from "../../kernel/charon.ts";
import { RequestSocket } from "../../netlink/socket.ts";
import { look, take } from "./kernel.ts";
import { stepsToPlain } from "./steps.ts";

export interface Released {
  /** As the commands of iproute2 that do the same. */
  readonly steps: readonly string[];
  readonly faults: readonly string[];
  /** What is left to do by hand, one line each. */
  readonly remarks: readonly string[];
}

/** `flags`: as given to flanneld. Throws ConfigError when it cannot be known what is ours. */
export function releasePlain(flags: readonly string[], dryRun: boolean): Released {
  const invocation = parseFlags(flags, process.env);
  if (invocation.kind !== "run") throw new RangeError("Cannot release for --help or --version");
  const { subnetFile } = invocation.options;
  const networks = networksOf(subnetFile);
  const daemon = daemonOf(subnetFile);
  if (daemon.kind === "running") {
    const { pid } = daemon.status;
    throw new Error(
      `cannot release this node: flanneld runs, process ${pid}, and would put back what is taken from it; stop it first`,
    );
  }
  if (!dryRun) requireNetAdmin();
  using socket = new RequestSocket();
  const steps = stepsToPlain(look(socket, networks), networks);
  const faults = dryRun ? [] : take(socket, steps);
  return { steps: steps.map(({ command }) => command), faults, remarks: remarks() };
}

function networksOf(subnetFile: string): PerFamily<Prefix> {
  let text: string;
  try {
    text = readFileSync(subnetFile, "utf8");
  } catch {
    const want = "subnet.env, which says what the network is: give flanneld's --subnet-file after --";
    throw new ConfigError([{ where: `--subnet-file=${subnetFile}`, got: "no file that can be read", want }]);
  }
  const { network } = previousLease(parseSubnetEnv(text));
  if (familiesOf(network).length > 0) return network;
  throw new ConfigError([{ where: subnetFile, got: "no network", want: "FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK" }]);
}

function remarks(): string[] {
  const charon = runningCharon(CHARON_FILES);
  if (!charon) return [];
  return [
    `flanneld's charon still runs, to keep the tunnels: end it when Go flannel starts one of its own: kill ${charon.pid}`,
  ];
}
