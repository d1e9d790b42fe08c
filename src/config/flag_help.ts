// The text of `flanneld --help`, from the flag table.

import { defaultText, type Flag, GROUPS } from "./flag.ts";
import { FLAGS } from "./flag_table.ts";

/** Columns: a terminal of 100, and room for all but the longest names beside the text. */
const WIDTH = 100;
const TEXT_COLUMN = 38;

export function flagHelp(): string {
  const flags: readonly Flag[] = FLAGS;
  const lines = ["Usage: flanneld [--name=value …]"];
  for (const group of GROUPS) {
    lines.push("", `${group}:`);
    for (const flag of flags) if (flag.group === group && !flag.hidden) lines.push(...entry(flag));
  }
  const closing =
    "One dash or two. A flag that is not given is taken from the environment: FLANNELD_STORE_FILE for --store-file.";
  lines.push("", ...wrap(closing, WIDTH));
  return `${lines.join("\n")}\n`;
}

/** `--store-file=PATH`, `--ip-masq`. */
export function flagUsage(flag: Flag): string {
  const value = flag.kind === "choice" ? flag.choices.join("|") : flag.value;
  return flag.kind === "boolean" ? `--${flag.name}` : `--${flag.name}=${value}`;
}

function entry(flag: Flag): string[] {
  const usual = defaultText(flag);
  const remarks = [
    ...(usual === "" || usual === "false" ? [] : [`default ${usual}`]),
    ...(flag.later ? ["not in this version yet"] : []),
  ];
  const text = remarks.length > 0 ? `${flag.help} (${remarks.join("; ")})` : flag.help;
  const [first = "", ...rest] = wrap(text, WIDTH - TEXT_COLUMN);
  const usage = `  ${flagUsage(flag)}`;
  const indent = " ".repeat(TEXT_COLUMN);
  const head = usage.length < TEXT_COLUMN ? [usage.padEnd(TEXT_COLUMN) + first] : [usage, indent + first];
  return [...head, ...rest.map((line) => indent + line)];
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
