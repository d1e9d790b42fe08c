// flannelctl as a process of its own, from the source: what a shell sees of it.

import { join } from "node:path";

const PROGRAM = join(import.meta.dir, "../../src/ctl/program.ts");
/** As src/flannelctl.ts does it, whatever the process is called. */
const ENTRY = `const { runProgram } = await import(${JSON.stringify(PROGRAM)}); process.exitCode = await runProgram(process.argv.slice(1), "0");`;

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface CallOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

function environment(env: Readonly<Record<string, string>> = {}): Record<string, string | undefined> {
  const own = Object.entries(process.env).filter(([name]) => !/^(FLANNELD_|VISUAL$|EDITOR$)/.test(name));
  return { ...Object.fromEntries(own), NO_COLOR: "1", ...env };
}

/** The command, to run it elsewhere. */
export const FLANNELCTL: readonly string[] = [process.execPath, "-e", ENTRY, "--"];

export async function flannelctl(words: readonly string[], { input = "", env }: CallOptions = {}): Promise<Outcome> {
  const child = Bun.spawn([...FLANNELCTL, ...words], {
    stdin: new TextEncoder().encode(input),
    stdout: "pipe",
    stderr: "pipe",
    env: environment(env),
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

/** One that goes on until it is ended. */
export function runningFlannelctl(words: readonly string[], log: string): Bun.Subprocess {
  return Bun.spawn([...FLANNELCTL, ...words], {
    stdin: "ignore",
    stdout: Bun.file(log),
    stderr: "inherit",
    env: environment(),
  });
}
