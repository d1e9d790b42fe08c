// Where JSON text (RFC 8259) goes wrong. JSON.parse of this runtime does not say; somebody who edits a ConfigMap by hand wants line, column and the text
// there. Only runs on text that JSON.parse refused.

import { ConfigError } from "./fault.ts";

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
/** A string up to its closing quote, or up to what cannot stand in one. */
const STRING_BEGUN = /"(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y;
const LITERAL = /(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)(?![\w.+-])/y;

/** Deeper than any configuration, shallow enough for the stack. */
const MAX_DEPTH = 500;

/** What of a line is shown before and after the place of a fault. */
const SHOWN = { before: 70, after: 40 };

/** The value of JSON text. Throws ConfigError that points at the first wrong character, as `where, line 3, column 7`. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const { offset, want } = findFault(text);
    const before = text.slice(0, offset).split("\n");
    const there = /^[^\n\r]{0,40}/.exec(text.slice(offset))?.[0];
    const got = offset >= text.length ? "the end of the text" : there ? JSON.stringify(there) : "the end of the line";
    const place = `${where}, line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
    throw new ConfigError([{ where: place, got, want, excerpt: excerptAt(text, offset) }]);
  }
}

/** The line of `offset`, and below it a caret that points there, also behind tabs. */
function excerptAt(text: string, offset: number): readonly string[] {
  const before = /[^\n\r]*$/.exec(text.slice(0, offset))?.[0].slice(-SHOWN.before) ?? "";
  const after = /^[^\n\r]*/.exec(text.slice(offset))?.[0].slice(0, SHOWN.after) ?? "";
  return [before + after, `${before.replace(/[^\t]/g, " ")}^`];
}

interface SyntaxFault {
  readonly offset: number;
  readonly want: string;
}

function findFault(text: string): SyntaxFault {
  const scanner = new Scanner(text);
  const fault = scanner.value(0) ?? scanner.end();
  return fault ?? { offset: 0, want: "JSON" };
}

/** Walks over the text; each step answers the fault it met, or undefined when it is past what it read. */
class Scanner {
  readonly #text: string;
  #offset = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): SyntaxFault | undefined {
    this.#skip(SPACE);
    if (depth > MAX_DEPTH) return this.#fault(`at most ${MAX_DEPTH} levels`);
    if (this.#accept("{")) return this.#members("}", depth);
    if (this.#accept("[")) return this.#members("]", depth);
    if (this.#skip(STRING) || this.#skip(LITERAL)) return undefined;
    if (this.#at('"')) return this.#stringFault();
    return this.#fault("a value: an object, a list, text in double quotes, a number, true, false or null");
  }

  end(): SyntaxFault | undefined {
    this.#skip(SPACE);
    return this.#offset < this.#text.length ? this.#fault("nothing after the value") : undefined;
  }

  /** What stands between the brackets of an object or a list, and the closing one. */
  #members(close: "}" | "]", depth: number): SyntaxFault | undefined {
    this.#skip(SPACE);
    if (this.#accept(close)) return undefined;
    while (true) {
      const fault = (close === "}" ? this.#key() : undefined) ?? this.value(depth + 1);
      if (fault) return fault;
      this.#skip(SPACE);
      if (this.#accept(close)) return undefined;
      if (!this.#accept(",")) return this.#fault(`"," or "${close}"`);
    }
  }

  #key(): SyntaxFault | undefined {
    this.#skip(SPACE);
    if (!this.#skip(STRING)) return this.#at('"') ? this.#stringFault() : this.#fault("a key in double quotes");
    this.#skip(SPACE);
    return this.#accept(":") ? undefined : this.#fault('":"');
  }

  /** A string that does not end in its line is shown from its opening quote: nobody can tell where it should have ended. */
  #stringFault(): SyntaxFault {
    STRING_BEGUN.lastIndex = this.#offset;
    const end = this.#offset + (STRING_BEGUN.exec(this.#text)?.[0].length ?? 0);
    if (end >= this.#text.length || /[\n\r]/.test(this.#text[end] ?? "")) {
      return this.#fault("the closing double quote of this text in the same line");
    }
    const want =
      this.#text[end] === "\\"
        ? 'an escape of JSON: \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0000'
        : "no control character in a text";
    return { offset: end, want };
  }

  #at(character: string): boolean {
    return this.#text[this.#offset] === character;
  }

  #accept(character: string): boolean {
    if (!this.#at(character)) return false;
    this.#offset++;
    return true;
  }

  #skip(pattern: RegExp): boolean {
    pattern.lastIndex = this.#offset;
    const length = pattern.exec(this.#text)?.[0].length ?? 0;
    this.#offset += length;
    return length > 0;
  }

  #fault(want: string): SyntaxFault {
    return { offset: this.#offset, want };
  }
}
