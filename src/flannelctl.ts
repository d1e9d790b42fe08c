// flannelctl: the program for people. Everything is loaded when it is called, since flanneld and the CNI plugin live
// in the same executable.

import { version } from "../package.json";

/** `argv` without the program's own name. Resolves to the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const { runProgram } = await import("./ctl/program.ts");
  return await runProgram(argv, version);
}
