// Runs the tools a lab is built with: ip, ping, nsenter. Children get a bare environment (messages in English, and
// nothing that changes how a compiled program starts) and are told what to do on standard input, so that the commands
// read as an operator would type them.

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly stdin?: string;
  readonly signal?: AbortSignal;
}

/** cron and sudo may leave out the directories where ip and tc live. */
const PATH = `${process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin"}:/usr/local/sbin:/usr/sbin:/sbin`;

export const TOOL_ENVIRONMENT: Readonly<Record<string, string>> = { PATH, LC_ALL: "C" };

export function findTool(name: string): string | null {
  return Bun.which(name, { PATH });
}

/** Runs a command to its end, whatever its exit code; throws the signal's reason when aborted. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Finished> {
  options.signal?.throwIfAborted();
  const child = Bun.spawn([...command], {
    env: TOOL_ENVIRONMENT,
    cwd: "/",
    stdin: options.stdin === undefined ? "ignore" : new TextEncoder().encode(options.stdin),
    stdout: "pipe",
    stderr: "pipe",
    ...(options.signal ? { signal: options.signal } : {}),
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  options.signal?.throwIfAborted();
  return { code, stdout, stderr };
}

/** Dies with us: nothing may be made after we were killed, when nobody would record it. */
const TIED_TO_US = ["setpriv", "--pdeathsig", "KILL"];

/**
 * Lines for `ip -batch`, in a network namespace or (undefined) in the host's. Stops at the first that fails and
 * throws, naming it.
 */
export async function ipBatch(
  namespace: string | undefined,
  lines: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  await batch("ip", namespace, lines, signal);
}

export async function tcBatch(namespace: string, lines: readonly string[]): Promise<void> {
  await batch("tc", namespace, lines);
}

async function batch(tool: "ip" | "tc", namespace: string | undefined, lines: readonly string[], signal?: AbortSignal) {
  if (lines.length === 0) return;
  const where = namespace === undefined ? [] : ["-n", namespace];
  const { code, stderr } = await run([...TIED_TO_US, tool, ...where, "-batch", "-"], {
    stdin: `${lines.join("\n")}\n`,
    ...(signal ? { signal } : {}),
  });
  if (code !== 0) throw new Error(`cannot run ${[tool, ...where].join(" ")} ${batchFault(lines, stderr)}`);
}

/**
 * `link add …: File exists`, from what the tool said and the number of the line it stopped at ("Command failed -:3").
 */
export function batchFault(lines: readonly string[], stderr: string): string {
  const number = /^Command failed -:(\d+)/m.exec(stderr)?.[1];
  const reason = stderr
    .split("\n")
    .map((text) => text.replace(/^(RTNETLINK answers|Error): /, "").trim())
    .filter((text) => text !== "" && !text.startsWith("Command failed") && !text.startsWith("We have an error"))
    .join("; ");
  const failed = number === undefined ? `-batch (${lines.length} lines)` : (lines[Number(number) - 1] ?? "");
  return `${failed}: ${reason || "no reason given"}`;
}
