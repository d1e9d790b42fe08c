// Charts of a run's medians as SVG files: bars for each path, one colour for each measurement, lab and wire side by side. Apache ECharts draws without a
// browser; it is loaded by nothing but this.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BarChart } from "echarts/charts";
import { GridComponent, LegendComponent, TitleComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { summaryOf } from "../table.ts";
import type { FigureName, MeasurementName } from "./measurements.ts";
import type { Form, PathName } from "./paths.ts";
import type { Asked, Samples } from "./samples.ts";

use([BarChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

interface Plot {
  /** "tcp" makes tcp.svg. */
  readonly file: string;
  readonly title: string;
  readonly figure: FigureName;
  readonly measurements: readonly MeasurementName[];
}

const PLOTS: readonly Plot[] = [
  { file: "tcp", title: "TCP, Gbit/s received", figure: "rate", measurements: ["tcp1", "tcp4"] },
  {
    file: "udp",
    title: "UDP, thousand packets a second received",
    figure: "rate",
    measurements: ["udp64", "udp1400", "mix"],
  },
  { file: "round-trips", title: "UDP round trips, thousands a second", figure: "rate", measurements: ["rr1", "rr16"] },
  {
    file: "cpu",
    title: "CPU of the machine, seconds for each GB of one TCP stream",
    figure: "cpu",
    measurements: ["tcp1"],
  },
];

const WIDTH = 900;
const BAR_HEIGHT = 14;
const PATH_GAP = 14;
const FRAME_HEIGHT = 110;
const COLOURS: Readonly<Record<Form, readonly string[]>> = {
  lab: ["#9ecae1", "#a1d99b", "#fdd0a2"],
  wire: ["#3182bd", "#31a354", "#e6550d"],
};

/** One row of bars. */
export interface Series {
  readonly name: string;
  readonly colour: string;
  /** A median for each path; undefined where nothing was measured. */
  readonly medians: readonly (number | undefined)[];
}

/** Writes the charts for which there are values; returns the paths of the files. */
export function writePlots(directory: string, samples: Samples, asked: Asked): readonly string[] {
  mkdirSync(directory, { recursive: true });
  return PLOTS.flatMap((plot) => {
    const series = seriesOf(plot, samples, asked);
    if (series.length === 0) return [];
    const file = join(directory, `${plot.file}.svg`);
    writeFileSync(file, `${draw(plot.title, asked.paths, series)}\n`);
    return [file];
  });
}

export function seriesOf(
  { figure, measurements }: Pick<Plot, "figure" | "measurements">,
  samples: Samples,
  { forms, measurements: asked, paths }: Asked,
): readonly Series[] {
  return measurements
    .filter((measurement) => asked.includes(measurement))
    .flatMap((measurement, i) =>
      forms.map((form) => ({
        name: `${measurement}, ${form}`,
        colour: COLOURS[form][i] ?? "#888888",
        medians: paths.map((path) => {
          const values = samples.of({ form, measurement, path }, figure);
          return values.length > 0 ? summaryOf(values).median : undefined;
        }),
      })),
    );
}

function draw(title: string, paths: readonly PathName[], series: readonly Series[]): string {
  const height = FRAME_HEIGHT + paths.length * (series.length * BAR_HEIGHT + PATH_GAP);
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: "#ffffff",
      title: { text: title, left: 12, top: 10, textStyle: { fontSize: 16 } },
      legend: { top: 38, left: 12, itemGap: 24, selectedMode: false },
      grid: { top: 70, bottom: 30, left: 130, right: 60 },
      xAxis: { type: "value" },
      yAxis: { type: "category", data: [...paths], inverse: true, axisTick: { show: false } },
      series: series.map(({ name, colour, medians }) => ({
        type: "bar",
        name,
        silent: true, // nobody points at a picture
        barWidth: BAR_HEIGHT - 2,
        itemStyle: { color: colour },
        label: { show: true, position: "right", fontSize: 10 },
        data: medians.map((median) => (median === undefined ? "-" : Number(median.toPrecision(3)))),
      })),
    });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}
