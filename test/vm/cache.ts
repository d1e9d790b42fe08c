// Where what guests are made of is kept, and how it comes there: by programs that say what was wrong.

import { homedir } from "node:os";
import { join } from "node:path";

export const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "flannel-ts-vm");

export function command(words: readonly string[], cwd?: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...words], cwd === undefined ? {} : { cwd });
  if (exitCode !== 0) throw new Error(`${words.join(" ")}: exit ${exitCode}: ${stderr}`);
  return stdout.toString();
}
