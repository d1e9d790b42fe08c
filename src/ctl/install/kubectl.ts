// The operator's own kubectl, which knows the cluster, the credentials and the context.

import type { Session } from "../session.ts";

/** Runs it with `input`; what it says goes where ours goes. Throws when it is missing or fails. */
export async function kubectl(args: readonly string[], input: string, { out, err }: Session): Promise<void> {
  const path = Bun.which("kubectl");
  if (path === null) {
    throw new Error(
      `cannot run kubectl ${args.join(" ")}: there is none in PATH; install it, or take the manifest without --apply to where it is`,
    );
  }
  const child = Bun.spawn([path, ...args], { stdin: Buffer.from(input), stdout: "pipe", stderr: "pipe" });
  const [, , exitCode] = await Promise.all([pass(child.stdout, out), pass(child.stderr, err), child.exited]);
  if (exitCode !== 0) throw new Error(`kubectl ${args.join(" ")} ended with exit code ${exitCode}`);
}

async function pass(from: ReadableStream<Uint8Array>, to: Session["out"]): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of from) to.write(decoder.decode(chunk, { stream: true }));
}
