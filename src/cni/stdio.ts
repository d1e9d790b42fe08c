// Standard input and output of a plugin, at once: nothing else goes on in the process, and a pod waits for it.

import { SysError } from "../sys/error.ts";
import { readAll, writeAll } from "../sys/file.ts";
import { CNI_CODE, CniError } from "./cni_error.ts";

/** GC's configuration names every pod of the node in about 100 bytes; nobody has 40,000. */
const MAX_BYTES = 4 << 20;

/** All of standard input. */
export function readStdin(): string {
  const text = telling(() => readAll(0, "standard input", MAX_BYTES));
  if (text !== undefined) return text;
  throw new CniError(CNI_CODE.io, `cannot read the configuration: more than ${MAX_BYTES} bytes on standard input`);
}

export function writeStdout(text: string): void {
  telling(() => writeAll(1, text, "standard output"));
}

function telling<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new CniError(CNI_CODE.io, error.message);
  }
}
