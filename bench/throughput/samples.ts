// All values of a run, and the tables made of them.

import type { Row, Table } from "../table.ts";
import { GOALS } from "./goals.ts";
import { type Figure, type FigureName, MEASUREMENT, type MeasurementName, type Values } from "./measurements.ts";
import type { Form, PathName } from "./paths.ts";

export interface Cell {
  readonly form: Form;
  readonly measurement: MeasurementName;
  readonly path: PathName;
}

export class Samples {
  readonly #values = new Map<string, number[]>();

  note(cell: Cell, values: Values): void {
    for (const [figure, value] of Object.entries(values)) {
      const key = keyOf(cell, figure as FigureName);
      const list = this.#values.get(key) ?? [];
      list.push(value);
      this.#values.set(key, list);
    }
  }

  /** One for each round, in their order. */
  of(cell: Cell, figure: FigureName): readonly number[] {
    return this.#values.get(keyOf(cell, figure)) ?? [];
  }
}

function keyOf({ form, measurement, path }: Cell, figure: FigureName): string {
  return `${form} ${measurement} ${path} ${figure}`;
}

export interface Asked {
  readonly forms: readonly Form[];
  readonly measurements: readonly MeasurementName[];
  readonly paths: readonly PathName[];
}

/** One table for each measurement in each form, and last the goals. */
export function tablesOf(samples: Samples, asked: Asked): readonly Table[] {
  const tables = asked.measurements.flatMap((measurement) =>
    asked.forms.map((form): Table => {
      const { title, figures } = MEASUREMENT[measurement];
      const rows = figures.flatMap((figure) => rowsOf(samples, asked, form, measurement, figure));
      return { title: `Throughput, ${form}: ${title}`, rows };
    }),
  );
  const goals = goalRows(samples, asked);
  return goals.length > 0 ? [...tables, { title: "Throughput: ratios round by round", rows: goals }] : tables;
}

function rowsOf(samples: Samples, asked: Asked, form: Form, measurement: MeasurementName, figure: Figure): Row[] {
  const name = (path: PathName) => (figure.title === "" ? path : `${path}: ${figure.title}`);
  const calibration = figure.name === "rate" && asked.paths.includes("underlay");
  return asked.paths.flatMap((path): Row[] => {
    const values = samples.of({ form, measurement, path }, figure.name);
    if (values.length === 0) return []; // no daemon, no figure of it
    const against = calibration && path !== "underlay" ? { against: name("underlay") } : {};
    return [{ name: name(path), unit: figure.unit, samples: values, ...against }];
  });
}

function goalRows(samples: Samples, { forms, measurements, paths }: Asked): Row[] {
  return GOALS.filter(
    ({ path, against, measurement }) =>
      paths.includes(path) && paths.includes(against) && measurements.includes(measurement),
  ).flatMap(({ path, against, measurement, figure, want, forms: wanted }) =>
    wanted
      .filter((form) => forms.includes(form))
      .map((form): Row => {
        const own = samples.of({ form, measurement, path }, figure);
        const other = samples.of({ form, measurement, path: against }, figure);
        const what = figure === "cpu" ? `CPU per GB of ${measurement}` : measurement;
        return { name: `${path} / ${against}: ${what}, ${form}`, unit: "×", samples: ratios(own, other), goal: want };
      }),
  );
}

/** What was measured in the same round: both saw the same machine. */
export function ratios(own: readonly number[], other: readonly number[]): number[] {
  return own.flatMap((value, i) => {
    const beside = other[i];
    return beside === undefined ? [] : [value / beside];
  });
}
