// Kubernetes objects as YAML 1.2 for people to read and change: blocks, texts of several lines as literal blocks, and quotes wherever a text could be taken for
// something else.

import { isJsonObject } from "../../config/json_fields.ts";

/** Documents, one after another. */
export function yamlOf(objects: readonly object[]): string {
  return objects.map((object) => `---\n${block(object, "")}`).join("");
}

/** Lines of a mapping or list, each with `indent` and an end. */
function block(value: unknown, indent: string): string {
  if (Array.isArray(value)) return value.map((item) => entry(`${indent}-`, item, indent)).join("");
  const entries = Object.entries(value as object).filter(([, inner]) => inner !== undefined);
  return entries.map(([key, inner]) => entry(`${indent}${scalar(key)}:`, inner, indent)).join("");
}

/** What stands after "key:" or "-". */
function entry(head: string, value: unknown, indent: string): string {
  const isItem = head.endsWith("-");
  const deeper = `${indent}  `;
  if (typeof value === "string" && isLiteral(value)) {
    const lines = value.slice(0, -1).split("\n");
    return `${head} |\n${lines.map((line) => (line === "" ? "\n" : `${deeper}${line}\n`)).join("")}`;
  }
  if ((Array.isArray(value) || isJsonObject(value)) && Object.keys(value).length > 0) {
    const inner = block(value, deeper);
    // The first key of an item stands on the item's line.
    return isItem ? `${head} ${inner.slice(deeper.length)}` : `${head}\n${inner}`;
  }
  return `${head} ${scalar(value)}\n`;
}

/** Whether a literal block says it exactly: it ends with one line break, and begins with no blank, which would say how far it is indented. */
function isLiteral(text: string): boolean {
  return /^[\x21-\x7e][\x20-\x7e\n]*[\x21-\x7e]\n$/.test(text);
}

/** Words that YAML 1.1, which Kubernetes' tools read, takes for something else than text. */
const NO_TEXT = /^(?:y|n|yes|no|on|off|true|false|null|nan)$/i;

function scalar(value: unknown): string {
  if (typeof value !== "string") return JSON.stringify(value);
  const plain = /^[A-Za-z/][A-Za-z0-9 ._/=@$()-]*(?::[A-Za-z0-9._/-]+)*$/.test(value) && !value.endsWith(" ");
  return plain && !NO_TEXT.test(value) ? value : JSON.stringify(value);
}
