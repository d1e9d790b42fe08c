// The system's own iptables, whichever variant (nf_tables, legacy) its alternatives name: a table is read by one iptables-save and changed by one
// iptables-restore --noflush, which is one transaction. Rules are kept as iptables-save writes them, without "-A CHAIN".

import type { Family } from "../ip/family.ts";
import { CNI_CODE, CniError } from "./cni_error.ts";

const PROGRAM: Readonly<Record<Family, string>> = { ipv4: "iptables", ipv6: "ip6tables" };
/** A runtime's PATH may lack what a login as root has. */
const ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

/** The program is missing, or its table cannot be had, as IPv6's in a kernel without. */
export class IptablesUnusable extends CniError {
  constructor(message: string) {
    super(CNI_CODE.internal, message);
    this.name = "IptablesUnusable";
  }
}

/** Chain → its rules. */
export type SavedTable = ReadonlyMap<string, readonly string[]>;

/** Throws IptablesUnusable. */
export function readTable(family: Family, table: string): SavedTable {
  const { exitCode, stdout, stderr } = run(family, "-save", ["-t", table]);
  if (exitCode !== 0)
    throw new IptablesUnusable(failure(`read table ${table}`, `${PROGRAM[family]}-save`, stderr, exitCode));
  return parseSaved(stdout);
}

/** The rules of one chain, much cheaper than its table where that is large; undefined when there is no such chain, or no way to know. */
export function readChain(family: Family, table: string, chain: string): readonly string[] | undefined {
  const { exitCode, stdout } = run(family, "", ["-t", table, "-S", chain, "--wait"]);
  return exitCode === 0 ? (parseSaved(`:${chain} \n${stdout}`).get(chain) ?? []) : undefined;
}

/** Carries out `lines`, all or none: "-N CHAIN", "-A CHAIN RULE", ":CHAIN - [0:0]" … */
export function changeTable(family: Family, table: string, lines: readonly string[]): void {
  const text = `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
  const { exitCode, stderr } = run(family, "-restore", ["--noflush", "--wait"], text);
  if (exitCode === 0) return;
  const [, number] = /line:? (\d+)/.exec(stderr) ?? [];
  const line = number === undefined ? undefined : text.split("\n")[Number(number) - 1];
  const where = line === undefined || line === "COMMIT" ? "" : `, at "${line}"`;
  const cause = `${stderr.trim()}${where}`;
  throw new CniError(
    CNI_CODE.internal,
    failure(`change table ${table}`, `${PROGRAM[family]}-restore`, cause, exitCode),
  );
}

/** Asks iptables itself, for rules that it may write otherwise than we do. */
export function hasRule(family: Family, table: string, chain: string, rule: string): boolean {
  return run(family, "", ["-t", table, "--wait", "-C", chain, ...argumentsOf(rule)]).exitCode === 0;
}

function parseSaved(text: string): SavedTable {
  const chains = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const [, declared] = /^:(\S+) /.exec(line) ?? [];
    if (declared !== undefined) chains.set(declared, []);
    const [, chain, rule] = /^-A (\S+) (.*)$/.exec(line) ?? [];
    if (chain !== undefined && rule !== undefined) chains.get(chain)?.push(rule);
  }
  return chains;
}

interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(family: Family, suffix: "" | "-save" | "-restore", args: readonly string[], stdin = ""): Outcome {
  const name = PROGRAM[family] + suffix;
  const path = Bun.which(name, { PATH: `${process.env.PATH ?? ""}:${ADMIN_PATH}` });
  if (!path) {
    throw new IptablesUnusable(`cannot run ${name}: it is not in PATH; install the package iptables`);
  }
  const { exitCode, stdout, stderr } = Bun.spawnSync([path, ...args], { stdin: Buffer.from(stdin) });
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

function failure(doing: string, program: string, stderr: string, exitCode: number): string {
  const cause = stderr.trim().split("\n").join("; ");
  return `cannot ${doing}: ${program}: ${cause || `exit code ${exitCode}`}`;
}

/** An argument as iptables-save writes it: bare, or in double quotes. */
export function quoteArgument(argument: string): string {
  return /^[\w.,:/!=+@%-]+$/.test(argument) ? argument : `"${argument.replace(/["'\\]/g, "\\$&")}"`;
}

/** The arguments of a rule that iptables-save wrote. */
export function argumentsOf(rule: string): string[] {
  return [...rule.matchAll(/"((?:\\.|[^"\\])*)"|\S+/g)].map(([bare, quoted]) =>
    quoted === undefined ? bare : quoted.replace(/\\(.)/g, "$1"),
  );
}
