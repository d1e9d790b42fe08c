// A plugin as a program (CNI specification 1.1.0, section 2): the verb comes in the environment, the configuration on standard input; the answer goes to standard output,
// an error too, and the exit code is 0 or 1. Standard error stays empty.

import { unlessMissing } from "../sys/file.ts";
import { identityOf } from "../sys/libc.ts";
import { readCall, type Verb } from "./call.ts";
import { CNI_CODE, CniError, cniErrorOf, formatCniError } from "./cni_error.ts";
import { openDelegate, perform } from "./delegate.ts";
import type { Environment } from "./external.ts";
import { type NetConf, readNetConf } from "./net_conf.ts";
import type { Plugin } from "./plugin.ts";
import { formatResult } from "./result_version.ts";
import { allowsVerb, formatSupportedVersions, NEWEST, VERSIONS, type Version } from "./version.ts";

export interface Answer {
  readonly exitCode: number;
  /** For standard output. */
  readonly text: string;
}

/** One call of the plugin that `load` gives. Never throws. */
export async function answer(
  load: () => Promise<Plugin>,
  environment: Environment,
  readInput: () => string,
): Promise<Answer> {
  let version: Version | undefined;
  let text = "";
  try {
    const call = readCall(environment);
    if (call.verb === "VERSION") return { exitCode: 0, text: formatSupportedVersions(versionAskedFor(readInput())) };
    text = readInput();
    const conf = await readNetConf(text);
    version = conf.cniVersion;
    requireVerb(conf, call.verb);
    if (call.netns !== "") refuseOwnNamespace(call.netns, call.verb, environment);
    const delegate = openDelegate({ call, environment, builtIn: true });
    const result = await perform(await load(), { call, conf, delegate });
    return { exitCode: 0, text: call.verb === "ADD" ? formatResult(result, conf.cniVersion) : "" };
  } catch (error) {
    return { exitCode: 1, text: formatCniError(cniErrorOf(error), version ?? versionAskedFor(text)) };
  }
}

/** The version that a text asks for, as far as it says one that is known: the answer to a text that cannot be read needs one too. */
function versionAskedFor(text: string): Version {
  const [, named] = /"cniVersion"\s*:\s*"([^"]*)"/.exec(text) ?? [];
  return VERSIONS.find((version) => version === named) ?? NEWEST;
}

function requireVerb({ cniVersion }: NetConf, verb: Verb): void {
  if (allowsVerb(cniVersion, verb)) return;
  throw new CniError(
    CNI_CODE.incompatibleVersion,
    `config version does not allow ${verb}`,
    `config is ${JSON.stringify(cniVersion)}`,
  );
}

/** A container's namespace is never the host's: DEL would take the host's eth0 away. The runtime may say that it knows better. */
function refuseOwnNamespace(netns: string, verb: Verb, environment: Environment): void {
  const override = environment.CNI_NETNS_OVERRIDE?.toLowerCase();
  if (override === "true" || override === "1") return;
  const theirs = unlessMissing(() => identityOf(netns));
  if (theirs === undefined) {
    // DEL comes after a reboot or a crash too, when there is nothing left but what the node itself holds.
    if (verb === "DEL") return;
    throw new CniError(
      CNI_CODE.invalidNetns,
      `failed to open netns ${JSON.stringify(netns)}: no such file or directory`,
    );
  }
  if (theirs === identityOf("/proc/thread-self/ns/net")) {
    throw new CniError(CNI_CODE.invalidNetns, "plugin's netns and netns from CNI_NETNS should not be the same");
  }
}
