import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seriesOf, writePlots } from "./plots.ts";
import { type Asked, Samples } from "./samples.ts";

const directory = mkdtempSync(join(tmpdir(), "flannel-plots-"));
afterAll(() => rmSync(directory, { recursive: true }));

const ASKED: Asked = { forms: ["lab", "wire"], measurements: ["tcp1"], paths: ["underlay", "vxlan"] };

function samples(): Samples {
  const noted = new Samples();
  for (const value of [11, 1, 12]) {
    noted.note({ form: "lab", measurement: "tcp1", path: "underlay" }, { rate: value, cpu: 0.5 });
    noted.note({ form: "wire", measurement: "tcp1", path: "vxlan" }, { rate: value / 2, cpu: 2 });
  }
  return noted;
}

test("seriesOf: medians by path, nothing where nothing was measured", () => {
  const plot = { figure: "rate", measurements: ["tcp1", "tcp4"] } as const;
  expect(seriesOf(plot, samples(), ASKED)).toMatchObject([
    { name: "tcp1, lab", medians: [11, undefined] },
    { name: "tcp1, wire", medians: [undefined, 5.5] },
  ]);
});

test("writePlots: SVG files of what was measured, and no others", () => {
  const target = join(directory, "new");
  expect(writePlots(target, samples(), ASKED)).toEqual([join(target, "tcp.svg"), join(target, "cpu.svg")]);
  expect(readdirSync(target).sort()).toEqual(["cpu.svg", "tcp.svg"]);
  const svg = readFileSync(join(target, "tcp.svg"), "utf8");
  expect(svg).toStartWith("<svg ");
  expect(svg.trimEnd()).toEndWith("</svg>");
  for (const text of ["TCP, Gbit/s received", "underlay", "vxlan", "tcp1, lab", "tcp1, wire", ">11<", ">5.5<"]) {
    expect(svg).toContain(text);
  }
});
