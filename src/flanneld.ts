// flanneld: argv and environment → options → run → exit code.

import { version } from "../package.json";
import { ConfigError } from "./config/fault.ts";
import { parseFlags } from "./config/flags.ts";
import { createLog } from "./daemon/log.ts";

/** `argv` without the program's own name. Resolves to the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    const invocation = parseFlags(argv, process.env);
    switch (invocation.kind) {
      case "version":
        process.stderr.write(`${version}\n`);
        return 0;
      case "help": {
        const { flagHelp } = await import("./config/flag_help.ts");
        process.stderr.write(flagHelp());
        return 0;
      }
      case "run":
        return await start(invocation.options, invocation.notices);
    }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(
      `${error.message
        .split("\n")
        .map((line) => `flanneld: ${line}`)
        .join("\n")}\n`,
    );
    return 1;
  }
}

async function start(
  options: Extract<ReturnType<typeof parseFlags>, { kind: "run" }>["options"],
  notices: readonly string[],
): Promise<number> {
  const log = createLog(options.v);
  for (const notice of notices) log.warn(notice);
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      log.info(`${name}: stopping; the data plane stays as it is`);
      stop.abort();
    });
  }
  const { run } = await import("./daemon/run.ts");
  try {
    await run(options, version, log, stop.signal);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    log.error(error instanceof Error ? error.message : String(error));
    if (!(error instanceof Error) || !isExpected(error))
      log.detail(1, error instanceof Error ? (error.stack ?? "") : "");
    return 1;
  }
}

/** Errors that say all there is to say; others are faults of this program, and their stack helps. */
function isExpected(error: Error): boolean {
  return ["ConfigError", "StoreError", "NetlinkError", "SysError"].includes(error.name);
}
