// What the paths are measured against: ratios of two paths in the same round, since only those carry over to another machine.

import type { FigureName, MeasurementName } from "./measurements.ts";
import { FORMS, type Form, type PathName } from "./paths.ts";

export interface Goal {
  readonly path: PathName;
  readonly against: PathName;
  readonly measurement: MeasurementName;
  readonly figure: FigureName;
  readonly forms: readonly Form[];
  /** In words: "≥ 0.6 ×". */
  readonly want: string;
}

const rate = (path: PathName, against: PathName, measurement: MeasurementName, want: string, forms = FORMS) =>
  ({ path, against, measurement, figure: "rate", forms, want }) as const;

/** Ours by flanneld and the same by hand: no difference but noise. */
const PARITY = "about 1 ×";
const NO_SLOWER: readonly MeasurementName[] = ["tcp1", "tcp4", "udp1400", "udp64", "mix", "rr1", "rr16"];

export const GOALS: readonly Goal[] = [
  { ...rate("udp", "vxlan", "tcp1", "≥ 0.6 ×"), forms: ["lab"] },
  { ...rate("udp", "upstream-udp", "tcp1", "≥ 2.5 ×"), forms: ["wire"] },
  rate("udp", "upstream-udp", "mix", "≥ 2 ×"),
  rate("udp", "upstream-udp", "rr16", "≥ 1.1 ×"),
  rate("udp", "upstream-udp", "rr1", "≥ 1 ×"),
  { ...rate("udp", "vxlan", "tcp1", "≤ 2 ×"), figure: "cpu" },
  ...NO_SLOWER.map((measurement) => rate("vxlan", "vxlan-by-hand", measurement, PARITY)),
  ...NO_SLOWER.map((measurement) => rate("host-gw", "host-gw-by-hand", measurement, PARITY)),
];
