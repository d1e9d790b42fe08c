// Where flannelctl writes: lines and tables, colours only where a person looks at them (https://no-color.org).

import { styleText } from "node:util";

export type Style = "red" | "green" | "yellow" | "dim" | "bold";

export interface Terminal {
  /** A person watches: lines may be redrawn. */
  readonly live: boolean;
  readonly colours: boolean;
  /** Size in characters; what is redrawn in place has to fit. */
  readonly columns: number;
  readonly rows: number;
  write(text: string): void;
}

type Environment = Readonly<Record<string, string | undefined>>;

export function terminalOf(stream: NodeJS.WriteStream, environment: Environment = process.env): Terminal {
  // A reader that left (`| head`) ends the output, not the work: a lab would be left half built.
  stream.on("error", () => {});
  const live = stream.isTTY === true && environment.TERM !== "dumb";
  return {
    live,
    colours: live && !environment.NO_COLOR,
    columns: stream.columns || 80,
    rows: stream.rows || 24,
    write: (text) => void stream.write(text),
  };
}

export function line(terminal: Terminal, text = ""): void {
  terminal.write(`${text}\n`);
}

export function paint(terminal: Pick<Terminal, "colours">, style: Style, text: string): string {
  return terminal.colours ? styleText(style, text, { validateStream: false }) : text;
}

/** Columns of a text as the eye counts them: colour codes have none. */
export function width(text: string): number {
  return Bun.stringWidth(text);
}

/** Rows of cells as lines, two spaces between columns; `right` names the columns (from 0) that end flush. */
export function tableLines(rows: readonly (readonly string[])[], right: ReadonlySet<number> = new Set()): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, width(cell));
  }
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const space = " ".repeat((widths[i] ?? 0) - width(cell));
        return right.has(i) ? space + cell : cell + space;
      })
      .join("  ")
      .trimEnd(),
  );
}
