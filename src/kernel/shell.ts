// Runs a command of the configuration by sh(1). Its text comes from the operator alone; what others wrote goes into the environment and to standard input. It
// has a process group of its own, which is killed as a whole when it takes too long or flanneld ends; what it says is read as far as it is of use.

export interface ShellCommand {
  /** What messages call it: "SubnetAddCommand for 10.5.2.0/24". */
  readonly title: string;
  readonly text: string;
  /** Added to this process's. */
  readonly environment: Readonly<Record<string, string>>;
  /** A newline is added. */
  readonly stdin: string;
  readonly timeoutMs: number;
}

export class ShellError extends Error {}

/** Bytes of standard output; more than any lease may have. */
const MAX_OUTPUT = 64 * 1024;
/** Characters at the end of what a failing command said, on one line. */
const MAX_TAIL = 400;
/** What a command left in the background holds its output open; by then all is read that the command itself said. */
const DRAIN_MS = 1_000;

/** Standard output, trimmed. Throws ShellError with exit code and the end of what it said; what it did until then is done. */
export async function runShell(command: ShellCommand, signal?: AbortSignal): Promise<string> {
  const { title, text, environment, stdin, timeoutMs } = command;
  if (signal?.aborted) throw new ShellError(`cannot run ${title}: flanneld is ending`);
  const child = Bun.spawn(["sh", "-c", text], {
    env: { ...process.env, ...environment },
    stdin: Buffer.from(`${stdin}\n`),
    stdout: "pipe",
    stderr: "pipe",
    detached: true,
  });
  let killed: string | undefined;
  const kill = (why: string) => {
    killed ??= why;
    killGroup(child.pid);
  };
  const timer = setTimeout(() => kill(`it was killed after ${timeoutMs / 1000} s`), timeoutMs);
  const abort = () => kill("flanneld is ending");
  signal?.addEventListener("abort", abort, { once: true });
  const output = new Said(child.stdout);
  const complaint = new Said(child.stderr);
  try {
    const code = await child.exited;
    await inTime(Promise.all([output.read, complaint.read]), DRAIN_MS);
    const said = tail(`${output.end}\n${complaint.end}`);
    const failure = killed ?? (code === 0 ? undefined : `exit code ${code}`);
    if (failure !== undefined) throw new ShellError(`cannot run ${title}: ${failure}${said === "" ? "" : `: ${said}`}`);
    if (output.overflowed) throw new ShellError(`cannot run ${title}: it said more than ${MAX_OUTPUT} bytes`);
    return output.text.trim();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    output.close();
    complaint.close();
  }
}

async function inTime(work: Promise<unknown>, ms: number): Promise<void> {
  const timer = Promise.withResolvers<void>();
  const timeout = setTimeout(timer.resolve, ms);
  await Promise.race([work, timer.promise]);
  clearTimeout(timeout);
}

/** The beginning of a stream and its end; the rest is let go. */
class Said {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #start: Uint8Array[] = [];
  #length = 0;
  #last: Buffer = Buffer.alloc(0);
  /** Resolves at the end of the stream. */
  readonly read: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    this.read = this.#readAll().catch(() => {}); // a stream that is closed has been read
  }

  get text(): string {
    return Buffer.concat(this.#start).toString();
  }

  get end(): string {
    return this.#last.toString();
  }

  get overflowed(): boolean {
    return this.#length > MAX_OUTPUT;
  }

  close(): void {
    this.#reader.cancel().catch(() => {});
  }

  async #readAll(): Promise<void> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return;
      if (this.#length <= MAX_OUTPUT) this.#start.push(value);
      this.#length += value.length;
      this.#last = Buffer.concat([this.#last, value.subarray(-4 * MAX_TAIL)]).subarray(-4 * MAX_TAIL);
    }
  }
}

/** On one line, without control characters. */
function tail(text: string): string {
  const line = text
    .trim()
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not reach a terminal
    .replace(/\s*[\u0000-\u001f\u007f-\u009f]+\s*/g, "; ");
  return line.length > MAX_TAIL ? `…${line.slice(-MAX_TAIL)}` : line;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // it has just ended
  }
}
