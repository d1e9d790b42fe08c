// What commands have done, as commands.json keeps it: nobody can read it back from the kernel. An effect is written before its command runs (`run` ""), and
// again when it is done, so that a crash in between is known as one. A file of another era, or one that does not parse, is none.

import { type CommandEffect, type ConfiguredCommand, NODE_EFFECT } from "../state/backend_object.ts";

/** Where the records are kept. */
export interface RecordFile {
  /** undefined when there is none. */
  read(): string | undefined;
  /** Throws when it cannot be written. */
  write(text: string): void;
}

const VERSION = 1;

export function formatRecords(era: string, effects: Iterable<CommandEffect>): string {
  return `${JSON.stringify({ version: VERSION, era, effects: [...effects] })}\n`;
}

/** The effects that may still be there. */
export function parseRecords(text: string | undefined, era: string): CommandEffect[] {
  if (text === undefined) return [];
  try {
    const file = JSON.parse(text);
    if (file.version !== VERSION || file.era !== era || !Array.isArray(file.effects)) return [];
    return file.effects.filter(isEffect);
  } catch {
    return [];
  }
}

function isEffect(value: unknown): value is CommandEffect {
  if (typeof value !== "object" || value === null) return false;
  const { kind, name, add, remove, environment, stdin, timeoutSeconds, run } = value as Partial<CommandEffect>;
  return (
    kind === "command" &&
    typeof name === "string" &&
    isCommand(add) &&
    isCommand(remove) &&
    typeof environment === "object" &&
    Object.values(environment).every((each) => typeof each === "string") &&
    typeof stdin === "string" &&
    typeof timeoutSeconds === "number" &&
    typeof run === "string"
  );
}

function isCommand(value: unknown): value is ConfiguredCommand {
  if (typeof value !== "object" || value === null) return false;
  const { option, text } = value as Partial<ConfiguredCommand>;
  return typeof option === "string" && typeof text === "string";
}

/** The node's own effect first: what is done for peers builds on it. */
export function nodeFirst<T>(items: readonly T[], effectOf: (item: T) => CommandEffect): [T[], T[]] {
  const isNode = (item: T) => effectOf(item).name === NODE_EFFECT;
  return [items.filter(isNode), items.filter((item) => !isNode(item))];
}
