// What flannelctl reads from its caller: a text on standard input, or the answer to a question when a person sits there.

import { createInterface } from "node:readline/promises";

export interface Input {
  /** A person sits there: a question may be asked. */
  readonly live: boolean;
  /** All of it. */
  text(): Promise<string>;
  /** Whether the answer is y or yes. Rejects with the signal's reason. */
  agrees(question: string, signal: AbortSignal): Promise<boolean>;
}

export function inputOf(stream: NodeJS.ReadStream): Input {
  return {
    live: stream.isTTY === true,
    async text() {
      const parts: Uint8Array[] = [];
      for await (const part of stream) parts.push(Buffer.from(part as Uint8Array));
      return Buffer.concat(parts).toString("utf8");
    },
    async agrees(question, signal) {
      const lines = createInterface({ input: stream, output: process.stderr, terminal: false });
      try {
        return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `, { signal })).trim());
      } catch (error) {
        signal.throwIfAborted();
        throw error;
      } finally {
        lines.close();
      }
    },
  };
}
