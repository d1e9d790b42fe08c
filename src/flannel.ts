// flannel, the CNI plugin, and the plugins that it has built in, by the name the executable is called by. A container runtime calls it for every pod: what is not
// needed for that call is not loaded.

import { version } from "../package.json";
import { builtInNamed } from "./cni/builtin.ts";
import { CNI_CODE, CniError } from "./cni/cni_error.ts";
import { flannel } from "./cni/flannel/plugin.ts";
import type { Plugin } from "./cni/plugin.ts";
import { answer } from "./cni/program.ts";
import { readStdin, writeStdout } from "./cni/stdio.ts";
import { VERSIONS } from "./cni/version.ts";

/** `name` as the executable is called, `argv` without it. Resolves to the exit code. */
export async function main(name: string, argv: readonly string[]): Promise<number> {
  if (process.env.CNI_COMMAND === undefined) return explain(name, argv);
  const { exitCode, text } = await answer(() => load(name), process.env, readStdin);
  writeStdout(text);
  return exitCode;
}

async function load(name: string): Promise<Plugin> {
  if (name === "flannel") return flannel;
  const builtIn = await builtInNamed(name)?.();
  if (builtIn) return builtIn.plugin;
  throw new CniError(CNI_CODE.internal, `cannot be ${name}: this program has no plugin of that name`);
}

/** Somebody called it by hand. */
function explain(name: string, argv: readonly string[]): number {
  const lines = [
    `${name} ${version} of flannel-ts, a CNI plugin`,
    `CNI versions: ${VERSIONS.join(", ")}`,
    "It is called by a container runtime, which puts the verb into CNI_COMMAND and the configuration on standard input.",
  ];
  if (argv.some((argument) => /^--?v(ersion)?$/.test(argument))) writeStdout(`${version}\n`);
  else if (argv.some((argument) => /^--?h(elp)?$/.test(argument))) writeStdout(`${lines.join("\n")}\n`);
  else process.stderr.write(`${lines.join("\n")}\n`);
  return 0;
}
