// Reads a command line as Go's flag package does: one dash or two, -name=value or -name value, a boolean never takes the next word, "--" ends. Node's
// parseArgs takes one dash for bundled letters and cannot be told otherwise. Unlike Go it goes on after a fault, so that all are named at once.

import type { Fault } from "./fault.ts";
import { ENVIRONMENT_PREFIX, environmentName, type Flag, isBooleanText } from "./flag.ts";
import { nearestWord } from "./nearest.ts";

/** One value that somebody gave a flag. */
export interface GivenText {
  readonly text: string;
  readonly from: "command line" | "environment";
  /** For messages: `--iface`, `FLANNELD_IFACE`. */
  readonly where: string;
}

export interface CommandLine {
  /** By flag name, in the order given. */
  readonly given: ReadonlyMap<string, readonly GivenText[]>;
  readonly help: boolean;
  readonly faults: readonly Fault[];
}

export function parseCommandLine(args: readonly string[], flags: readonly Flag[]): CommandLine {
  const byName = new Map(flags.map((flag) => [flag.name, flag]));
  const given = new Map<string, GivenText[]>();
  const faults: Fault[] = [];
  const words = [...args];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const [, name, value] = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === undefined) {
      if (word !== "--") faults.push(positional(word));
      else faults.push(...words.splice(0).map(positional));
      continue;
    }
    const flag = byName.get(name);
    if (!flag) {
      if (name === "help" || name === "h") return { given, help: true, faults };
      faults.push(unknown(name, byName.keys()));
      // What follows is most likely its value.
      if (value === undefined && words[0] !== undefined && !words[0].startsWith("-")) words.shift();
      continue;
    }
    const where = `--${name}`;
    const text = value ?? (flag.kind === "boolean" ? "true" : words.shift());
    if (text === undefined) {
      faults.push({ where, got: "no value", want: `one: ${where}=${flag.value}` });
      continue;
    }
    given.set(name, [...(given.get(name) ?? []), { text, from: "command line", where }]);
    if (flag.kind === "boolean" && value === undefined && words[0] !== undefined && isBooleanText(words[0])) {
      faults.push({ where, got: `"${words[0]}" as the next word`, want: `${where}=${words.shift()}` });
    }
  }
  return { given, help: false, faults };
}

function positional(word: string): Fault {
  return { where: "command line", got: JSON.stringify(word), want: "flags only, as --name=value" };
}

function unknown(name: string, known: Iterable<string>): Fault {
  const meant = nearestWord(name, known);
  const want = meant === undefined ? "one that --help lists" : `a known one; did you mean --${meant}`;
  return { where: `--${name}`, got: "an unknown flag", want };
}

export interface Environment {
  readonly given: ReadonlyMap<string, readonly GivenText[]>;
  /** Variables that no flag has but that look like one misspelt, one line each. */
  readonly notices: readonly string[];
}

/** What variables give to flags; an empty one is as good as none, as upstream has it. */
export function parseEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  flags: readonly Flag[],
): Environment {
  const byVariable = new Map(flags.map((flag) => [environmentName(flag), flag]));
  const given = new Map<string, readonly GivenText[]>();
  const notices: string[] = [];
  for (const [where, text] of Object.entries(environment)) {
    if (!where.startsWith(ENVIRONMENT_PREFIX) || !text) continue;
    const flag = byVariable.get(where);
    if (flag) given.set(flag.name, [{ text, from: "environment", where }]);
    else {
      // Kubernetes sets variables of this prefix for a Service called flanneld, so that only likely slips are told.
      const suffix = (name: string) => name.slice(ENVIRONMENT_PREFIX.length);
      const meant = nearestWord(suffix(where), [...byVariable.keys()].map(suffix));
      if (meant) notices.push(`${where}: no flag has this name; did you mean ${ENVIRONMENT_PREFIX}${meant}`);
    }
  }
  return { given, notices };
}
