// --iface-regex was written for Go's regular expressions (RE2 syntax). Those that people use for interface names and addresses mean the same here after
// a few spellings are translated; what has no translation is refused, since JavaScript without the `v` flag would quietly read \A as the letter A.

const CLASSES: Readonly<Record<string, string>> = {
  alpha: "A-Za-z",
  digit: "0-9",
  alnum: "0-9A-Za-z",
  lower: "a-z",
  upper: "A-Z",
  xdigit: "0-9A-Fa-f",
  word: "\\w",
  space: "\\s",
};

/** The JavaScript pattern of a Go pattern, which matches anywhere in a text, or undefined when it does not compile. */
export function compileGoPattern(pattern: string): RegExp | undefined {
  const [, flags = "", body = ""] = /^(?:\(\?([ims]+)\))?(.*)$/s.exec(pattern) ?? [];
  const translated = body
    .replace(/\[:(\w+):\]/g, (whole, name: string) => CLASSES[name] ?? whole)
    .replace(/\\([^\w\s])|\\([Az])|\(\?P</g, (_, escaped?: string, anchor?: string) => {
      if (escaped !== undefined) return `\\x${escaped.charCodeAt(0).toString(16).padStart(2, "0")}`;
      if (anchor === undefined) return "(?<";
      return anchor === "A" ? "(?<![^])" : "(?![^])";
    });
  try {
    return new RegExp(translated, `u${[...new Set(flags)].join("")}`);
  } catch {
    return undefined;
  }
}
