// A program under test, and waiting for what it does.

import { closeSync, openSync, readFileSync, statSync } from "node:fs";

/** How long anything may take to come about; a loaded machine is slow, and a test that passes never waits for it. */
const TIMEOUT_MS = 20_000;
/** Lines of a log that show why a test failed. */
const TAIL_LINES = 25;

/** A program, what it says and how it ends. It is killed with its owner. */
export class Program implements AsyncDisposable {
  readonly child: Bun.Subprocess<"ignore", number, number>;
  readonly #log: string;

  /** What it says goes to the file `log`: a pipe would stand still whenever this process waits for something else. */
  constructor(command: readonly string[], log: string, environment: Readonly<Record<string, string>> = {}) {
    this.#log = log;
    const file = openSync(log, "a");
    try {
      const env = { ...process.env, ...environment };
      // It dies with this process, also when that is killed.
      const mortal = ["setpriv", "--pdeathsig", "KILL", ...command];
      this.child = Bun.spawn(mortal, { env, stdin: "ignore", stdout: file, stderr: file });
    } finally {
      closeSync(file);
    }
  }

  /** Standard output and standard error. */
  get output(): string {
    return readFileSync(this.#log, "utf8");
  }

  /** Bytes of what it has said: a stream says megabytes, and is asked often. */
  get outputBytes(): number {
    return statSync(this.#log).size;
  }

  get pid(): number {
    return this.child.pid;
  }

  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** The exit code; 128 + number for a signal. */
  async exit(timeoutMs = TIMEOUT_MS): Promise<number> {
    await until(`the end of ${this.pid}`, () => !this.isAlive, this, timeoutMs);
    return await this.child.exited;
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number> {
    this.child.kill(signal);
    return await this.exit();
  }

  lines(pattern: RegExp): string[] {
    return this.output.split("\n").filter((line) => pattern.test(line));
  }

  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return await until(
      `"${pattern.source}" from ${this.child.pid}`,
      () => pattern.exec(this.output) ?? undefined,
      this,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL"); // wakes a stopped one too
    await this.exit();
  }
}

/** Polls until `look` finds something; throws with the end of what `witness` said when it ends or it takes too long. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  witness?: Program,
  timeoutMs = TIMEOUT_MS,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const ended = witness?.isAlive === false;
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (ended || performance.now() > end) {
      const tail = witness?.output.trimEnd().split("\n").slice(-TAIL_LINES).join("\n") ?? "";
      throw new Error(`${what}: not ${ended ? "before the end" : `within ${timeoutMs} ms`}\n${tail}`);
    }
    await Bun.sleep(5);
  }
}
