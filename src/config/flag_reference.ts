// docs/flags.md, from the flag table. To write it anew: `bun src/config/flag_reference.ts > docs/flags.md`.

import { defaultText, environmentName, type Flag, GROUPS } from "./flag.ts";
import { flagUsage } from "./flag_help.ts";
import { FLAGS } from "./flag_table.ts";

const INTRODUCTION = `# Flags of flanneld

<!-- Generated from src/config/flag_table.ts: bun src/config/flag_reference.ts > docs/flags.md -->

Names and defaults are upstream flannel's. One dash or two; \`--name=value\` or \`--name value\`; a boolean is switched off by \`--name=false\` and never takes
the next word. A flag that is not on the command line is taken from its environment variable, if that is set and not empty. All faults are
named at once, and nothing is started.

Not in this version yet: a flag marked ⏳ is read and checked, and a line in the log says what is missing; one marked ⛔ ends the program, since
going on without it would be another network than the one asked for.
`;

export function flagReference(): string {
  const flags: readonly Flag[] = FLAGS;
  const visible = GROUPS.map((group) =>
    section(
      group,
      flags.filter((flag) => flag.group === group && !flag.hidden),
    ),
  );
  const hidden = section(
    "Not in --help: for tests",
    flags.filter((flag) => flag.hidden),
  );
  return [INTRODUCTION, ...visible, hidden].join("\n");
}

function section(title: string, flags: readonly Flag[]): string {
  const rows = flags.map((flag) => {
    const usual = defaultText(flag);
    const cells = [
      code(flagUsage(flag)) + mark(flag),
      code(environmentName(flag)),
      usual === "" ? "" : code(usual),
      sentence(flag),
    ];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
  });
  return `## ${title}\n\n| Flag | Variable | Default | Meaning |\n| --- | --- | --- | --- |\n${rows.join("")}`;
}

function mark(flag: Flag): string {
  if (!flag.later) return "";
  return flag.later.use === "fault" ? " ⛔" : " ⏳";
}

function sentence(flag: Flag): string {
  const limits = flag.kind === "integer" && flag.min > 0 ? ` (${flag.min} to ${flag.max})` : "";
  return `${flag.help}${limits}`;
}

function code(text: string): string {
  return `\`${text}\``;
}

if (import.meta.main) process.stdout.write(flagReference());
