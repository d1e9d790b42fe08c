// flannelctl's frame: the subcommands, what goes to which output, and exit codes: 0 done, 1 failed, 2 called wrongly,
// 128 + n ended by signal n.

import { Command, CommanderError } from "commander";
import { ConfigError, faultLine } from "../config/fault.ts";
import { certs } from "./certs.ts";
import { config } from "./config.ts";
import { inputOf } from "./input.ts";
import { install, uninstall } from "./install.ts";
import { installCni } from "./install_cni.ts";
import { ipam } from "./ipam.ts";
import { lab } from "./lab.ts";
import { lease } from "./lease.ts";
import { migrate } from "./migrate.ts";
import { plan } from "./plan.ts";
import { release } from "./release.ts";
import { reserve, unreserve } from "./reserve.ts";
import { Interrupted, interruptible, type Session, UsageError } from "./session.ts";
import { subnets } from "./subnets.ts";
import { line, paint, terminalOf } from "./terminal.ts";

/** Adds one subcommand to the program. One file each, in the order of `flannelctl --help`. */
export type Subcommand = (program: Command, session: Session) => void;

const SUBCOMMANDS: readonly Subcommand[] = [
  config,
  subnets,
  reserve,
  unreserve,
  lease,
  migrate,
  ipam,
  install,
  uninstall,
  installCni,
  certs,
  lab,
  plan,
  release,
];

export async function runProgram(argv: readonly string[], version: string): Promise<number> {
  const out = terminalOf(process.stdout);
  const err = terminalOf(process.stderr);
  let exitCode = 0;
  const session: Session = {
    out,
    err,
    input: inputOf(process.stdin),
    run: async (work) => {
      exitCode = await interruptible(work);
    },
  };
  const program = new Command("flannelctl")
    .description("Looks at flannel's networks, plans and changes them, and builds them for trial.")
    .version(version)
    .configureOutput({ outputError: (text, write) => write(paint(err, "red", text)) })
    .showHelpAfterError("(flannelctl --help shows what there is)")
    .exitOverride();
  for (const add of SUBCOMMANDS) add(program, session);
  try {
    await program.parseAsync(argv, { from: "user" });
    return exitCode;
  } catch (error) {
    // commander has printed its own: help and version come as errors with exit code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    line(err, `${paint(err, "red", "flannelctl:")} ${wordsOf(error)}`);
    if (error instanceof Interrupted) return error.exitCode;
    return error instanceof UsageError || error instanceof ConfigError ? 2 : 1;
  }
}

/** A person reads this: what is wrong in a text is shown in its line. */
function wordsOf(error: unknown): string {
  if (!(error instanceof ConfigError)) return error instanceof Error ? error.message : String(error);
  return error.faults.flatMap((fault) => [faultLine(fault), ...(fault.excerpt ?? [])]).join("\n");
}
