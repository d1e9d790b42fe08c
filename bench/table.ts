// What a benchmark yields: rows of samples, printed as min / median / max, or as JSON. A row may be measured against
// another row of the same run (`against`), because only such ratios carry over to another machine.

export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly samples: readonly number[];
  /** What is wanted, in words: "≤ 60 ms". Nothing here fails when it is missed. */
  readonly goal?: string;
  /** Name of the row of the same table that this one's median is divided by. */
  readonly against?: string;
}

export interface Table {
  readonly title: string;
  readonly rows: readonly Row[];
}

export interface Summary {
  readonly min: number;
  readonly median: number;
  readonly p90: number;
  readonly max: number;
}

export function summaryOf(samples: readonly number[]): Summary {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (index: number) => sorted[Math.max(0, Math.min(sorted.length - 1, index))] ?? Number.NaN;
  const middle = sorted.length >> 1;
  return {
    min: at(0),
    median: sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2,
    p90: at(Math.ceil(sorted.length * 0.9) - 1),
    max: at(sorted.length - 1),
  };
}

/** The median of a row over that of the row it is measured against. */
export function ratioOf(row: Row, rows: readonly Row[]): number | undefined {
  const other = rows.find(({ name }) => name === row.against);
  return other && summaryOf(row.samples).median / summaryOf(other.samples).median;
}

const HEAD = ["", "min", "median", "p90", "max", "unit", "n", "ratio", "goal"];

export function formatTable({ title, rows }: Table): string {
  const lines = rows.map((row) => {
    const { min, median, p90, max } = summaryOf(row.samples);
    const ratio = ratioOf(row, rows);
    return [
      row.name,
      ...[min, median, p90, max].map(formatNumber),
      row.unit,
      String(row.samples.length),
      ratio === undefined ? "" : `${ratio.toFixed(2)} × "${row.against}"`,
      row.goal ?? "",
    ];
  });
  const widths = HEAD.map((head, column) => Math.max(head.length, ...lines.map((line) => line[column]?.length ?? 0)));
  const format = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i >= 1 && i <= 4 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd();
  return [title, format(HEAD), ...lines.map(format)].join("\n");
}

export function tableAsJson({ title, rows }: Table): object {
  return {
    title,
    rows: rows.map(({ samples, ...row }) => ({
      ...row,
      n: samples.length,
      ...summaryOf(samples),
      ratio: ratioOf({ samples, ...row }, rows),
    })),
  };
}

/** Three digits that mean something, and all digits before the point. */
function formatNumber(value: number): string {
  if (value === 0 || Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))));
}
