import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { runShell, type ShellCommand, ShellError } from "./shell.ts";

function shell(text: string, options: Partial<ShellCommand> = {}): Promise<string> {
  return runShell({
    title: "SubnetAddCommand for 10.5.2.0/24",
    text,
    environment: {},
    stdin: "",
    timeoutMs: 30_000,
    ...options,
  });
}

async function failure(work: Promise<unknown>): Promise<string> {
  const error = await work.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ShellError);
  return (error as Error).message;
}

test("runShell runs pipes, quotes and substitutions, and answers standard output without the blanks around it", async () => {
  expect(await shell(`export A="x y"; echo "  $A" | tr x z && echo "$(echo two)"; echo no >&2`)).toBe("z y\ntwo");
  expect(await shell("true")).toBe("");
});

test("runShell gives the environment beside its own, and standard input with a newline", async () => {
  const options = { environment: { SUBNET: "10.5.2.0/24" }, stdin: "02:00:00:00:00:02" };
  expect(await shell(`read MAC; echo "$SUBNET $MAC"; test -n "$PATH"`, options)).toBe("10.5.2.0/24 02:00:00:00:00:02");
  expect(await shell("wc -l", { stdin: "" })).toBe("1");
});

test("runShell tells the exit code and the end of what was said, on one line", async () => {
  expect(await failure(shell("echo one; echo two >&2; exit 3"))).toBe(
    "cannot run SubnetAddCommand for 10.5.2.0/24: exit code 3: one; two",
  );
  expect(await failure(shell("exit 4"))).toBe("cannot run SubnetAddCommand for 10.5.2.0/24: exit code 4");
  expect(await failure(shell("no-such-program"))).toContain("exit code 127: ");
  const long = await failure(shell(`yes abc | head -c 1000000; printf '\\033[31mlast\\n'; exit 1`));
  expect(long).toEndWith("; [31mlast");
  expect(long.length).toBeLessThan(600);
});

test("runShell takes no more output than any use needs", async () => {
  expect((await shell("head -c 65536 /dev/zero | tr '\\0' a")).length).toBe(65536);
  expect(await failure(shell("head -c 70000 /dev/zero | tr '\\0' a"))).toContain("said more than 65536 bytes");
});

test("runShell does not mind a command that never reads", async () => {
  expect(await shell("exec < /dev/null; echo done", { stdin: "x".repeat(1 << 20) })).toBe("done");
});

test("runShell kills a command that takes too long, and all that it started", async () => {
  const text = "sleep 1000 & echo $!; wait";
  const message = await failure(shell(text, { timeoutMs: 300 }));
  expect(message).toMatch(/it was killed after 0\.3 s: \d+$/);
  expect(isRunning(Number(/\d+$/.exec(message)?.[0]))).toBe(false);
});

test("runShell ends with its signal", async () => {
  const stop = new AbortController();
  const running = failure(
    runShell({ title: "T", text: "sleep 1000", environment: {}, stdin: "", timeoutMs: 60_000 }, stop.signal),
  );
  stop.abort();
  expect(await running).toBe("cannot run T: flanneld is ending");
});

test("runShell does not wait for what a command leaves in the background", async () => {
  const pid = Number(await shell("sleep 1000 & echo $!"));
  expect(isRunning(pid)).toBe(true);
  process.kill(pid, "SIGKILL");
});

test.each([
  ["quotes", `"; touch PROOF; echo "'; touch PROOF; '`],
  ["a substitution", "$(touch PROOF) `touch PROOF` $IFS"],
  ["newlines", "a\ntouch PROOF\n;touch PROOF\n"],
  ["16 KiB", "$(touch PROOF)\n".repeat(1100)],
])("runShell: data with %s stay data", async (_, stdin) => {
  await using directory = await temporary();
  const text = `cd "$DIRECTORY"; cat > data; read LINE < data; echo "$LINE" > echoed; ls`;
  expect(await shell(text, { environment: { DIRECTORY: directory.path }, stdin })).toBe("data\nechoed");
  expect(await Bun.file(`${directory.path}/data`).text()).toBe(`${stdin}\n`);
});

async function temporary() {
  const { mkdtemp, rm } = await import("node:fs/promises");
  const path = await mkdtemp("/tmp/flannel-shell-");
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

/** A zombie has ended. */
function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !stat.slice(stat.lastIndexOf(")")).startsWith(") Z");
  } catch {
    return false;
  }
}
