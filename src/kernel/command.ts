// Runs the tools that speak to the kernel for us where flannel does not do so itself: nft, iptables-save, iptables-restore.

/** What the tool said when it failed. */
export class CommandError extends Error {}

/** Longer than any lock is waited for; a tool that hangs must not hold up the rest for good. */
const TIMEOUT_MS = 30_000;

export type RunCommand = (command: readonly string[], input?: string) => Promise<string>;

/** Runs a program to its end and returns what it printed. Throws CommandError when it is missing or says no. */
export async function runCommand(command: readonly string[], input = ""): Promise<string> {
  const [program = ""] = command;
  let child: Bun.Subprocess<Uint8Array, "pipe", "pipe">;
  try {
    child = Bun.spawn([...command], {
      stdin: Buffer.from(input),
      stdout: "pipe",
      stderr: "pipe",
      timeout: TIMEOUT_MS,
    });
  } catch (error) {
    const reason = error instanceof Error && "code" in error && error.code === "ENOENT" ? "not found" : String(error);
    throw new CommandError(`cannot run ${program}: ${reason}`);
  }
  const [code, output, complaint] = await Promise.all([
    child.exited,
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if (code === 0) return output;
  const said = complaint.trim().split("\n").slice(0, 3).join("; ");
  throw new CommandError(`${command.join(" ")} ended with ${code}${said === "" ? "" : `: ${said}`}`);
}
