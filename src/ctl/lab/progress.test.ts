import { describe, expect, test } from "bun:test";
import type { Terminal } from "../terminal.ts";
import { Progress } from "./progress.ts";

function recorder(live: boolean, rows = 24): Terminal & { text: string } {
  const terminal = {
    live,
    colours: false,
    columns: 40,
    rows,
    text: "",
    write: (text: string) => {
      terminal.text += text;
    },
  };
  return terminal;
}

describe("Progress", () => {
  test("Progress: elsewhere than on a terminal, one line per step, repetitions left out", () => {
    const terminal = recorder(false);
    const progress = new Progress(terminal);
    progress.step("n1", "started");
    progress.step("n2", "started");
    progress.step("n1", "started");
    progress.step("n1", "up", "done");
    expect(terminal.text).toBe("· n1     started\n· n2     started\n✓ n1     up\n");
  });

  test("Progress: on a terminal, one line per row, drawn again in place", () => {
    const terminal = recorder(true);
    const progress = new Progress(terminal);
    progress.step("n1", "started");
    progress.step("n2", "started");
    terminal.text = "";
    progress.step("n1", "failed", "failed");
    expect(terminal.text).toBe("\x1b[2A\x1b[2K✗ n1     failed\n\x1b[2K· n2     started\n");
  });

  test("Progress: what is drawn fits the terminal, and starts afresh after end", () => {
    const terminal = recorder(true, 4);
    const progress = new Progress(terminal);
    for (const row of ["n1", "n2", "n3"]) progress.step(row, "x".repeat(100));
    progress.end();
    terminal.text = "";
    for (const row of ["n4", "n5", "n6"]) progress.step(row, "y".repeat(100));
    const lines = terminal.text.split("\n");
    expect(Math.max(...lines.map((text) => Bun.stringWidth(text)))).toBeLessThan(40);
    expect(terminal.text).not.toContain("\x1b[3A");
    expect(lines[0]?.startsWith("\x1b[2K")).toBe(true);
  });
});
