// Standard input and output of a plugin, at once: nothing else goes on in the process, and a pod waits for it.

import { readSync, writeSync } from "node:fs";
import { CNI_CODE, CniError } from "./cni_error.ts";

/** GC's configuration names every pod of the node in about 100 bytes; nobody has 40,000. */
const MAX_BYTES = 4 << 20;
const CHUNK_BYTES = 64 << 10;
/** A pipe whose other end is slow and that somebody made non-blocking (EAGAIN). */
const PAUSE_MS = 1;

/** All of standard input. */
export function readStdin(): string {
  const chunks: Buffer[] = [];
  let length = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    const count = patiently(() => readSync(0, chunk, 0, CHUNK_BYTES, null), "read standard input");
    if (count === 0) return Buffer.concat(chunks).toString("utf8");
    chunks.push(chunk.subarray(0, count));
    length += count;
    if (length > MAX_BYTES) {
      throw new CniError(CNI_CODE.io, `cannot read the configuration: more than ${MAX_BYTES} bytes on standard input`);
    }
  }
}

export function writeStdout(text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    const part = rest;
    rest = rest.subarray(patiently(() => writeSync(1, part), "write standard output"));
  }
}

function patiently(act: () => number, what: string): number {
  for (;;) {
    try {
      return act();
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code === "EAGAIN") Bun.sleepSync(PAUSE_MS);
      // A terminal, or a pipe on some systems, ends so.
      else if (code === "EOF") return 0;
      else throw new CniError(CNI_CODE.io, `cannot ${what}: ${code ?? error}`);
    }
  }
}
