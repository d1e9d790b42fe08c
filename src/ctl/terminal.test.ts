import { describe, expect, test } from "bun:test";
import { paint, tableLines, terminalOf } from "./terminal.ts";

function stream(isTTY: boolean): NodeJS.WriteStream {
  return { isTTY, columns: 100, rows: 30, on: () => {}, write: () => true } as unknown as NodeJS.WriteStream;
}

describe("terminalOf", () => {
  test.each([
    { isTTY: true, environment: {}, live: true, colours: true },
    { isTTY: true, environment: { NO_COLOR: "1" }, live: true, colours: false },
    { isTTY: true, environment: { NO_COLOR: "" }, live: true, colours: true },
    { isTTY: true, environment: { TERM: "dumb" }, live: false, colours: false },
    { isTTY: false, environment: {}, live: false, colours: false },
  ])("is live $live, coloured $colours on a terminal $isTTY with $environment", (row) => {
    const { live, colours } = terminalOf(stream(row.isTTY), row.environment);
    expect({ live, colours }).toEqual({ live: row.live, colours: row.colours });
  });
});

describe("paint", () => {
  test("paint: adds codes only where there are colours", () => {
    expect(paint({ colours: true }, "red", "no")).toBe("\x1b[31mno\x1b[39m");
    expect(paint({ colours: false }, "red", "no")).toBe("no");
  });
});

describe("tableLines", () => {
  test("tableLines: columns are as wide as their widest cell, colour codes not counted", () => {
    const red = paint({ colours: true }, "red", "gone");
    expect(
      tableLines(
        [
          ["NODE", "STATE", "N"],
          ["n1", red, "2"],
          ["n10", "pid 1", "10"],
        ],
        new Set([2]),
      ),
    ).toEqual(["NODE  STATE   N", `n1    ${red}    2`, "n10   pid 1  10"]);
  });
});
