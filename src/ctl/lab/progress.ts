// Shows what several nodes do at the same time: on a terminal one line per node, redrawn in place; elsewhere one line
// per step.

import { line, paint, type Style, type Terminal } from "../terminal.ts";

export type StepState = "working" | "done" | "failed";

const MARK: Record<StepState, { readonly text: string; readonly style: Style }> = {
  working: { text: "·", style: "dim" },
  done: { text: "✓", style: "green" },
  failed: { text: "✗", style: "red" },
};

export class Progress {
  readonly #terminal: Terminal;
  readonly #rows = new Map<string, string>();
  #drawn = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  step(row: string, text: string, state: StepState = "working"): void {
    const { text: mark, style } = MARK[state];
    // What is redrawn must not wrap: 3 columns are the mark and a margin.
    const content = `${row.padEnd(6)} ${text}`.slice(0, this.#terminal.columns - 3);
    const drawn = `${paint(this.#terminal, style, mark)} ${content}`;
    if (!this.#terminal.live) {
      if (this.#rows.get(row) !== drawn) line(this.#terminal, drawn);
      this.#rows.set(row, drawn);
      return;
    }
    this.#rows.set(row, drawn);
    this.#draw();
  }

  /** Lines printed from here on go below; the next step begins a new block. */
  end(): void {
    this.#rows.clear();
    this.#drawn = 0;
  }

  #draw(): void {
    // Lines that left the screen cannot be drawn again: of many nodes the last ones are shown.
    const rows = [...this.#rows.values()].slice(-Math.max(1, this.#terminal.rows - 2));
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : "";
    this.#terminal.write(`${up}${rows.map((text) => `\x1b[2K${text}\n`).join("")}`);
    this.#drawn = rows.length;
  }
}
