// Bad input is answered once, whole: every reader collects its faults and throws them together, each naming where it was found, what was given and
// what is wanted.

export interface Fault {
  /** Flag, environment variable, or file and key: `--iface`, `FLANNELD_IFACE`, `net-conf.json: Backend.VNI`. */
  readonly where: string;
  /** What was given, as text; undefined when nothing was. */
  readonly got: string | undefined;
  /** What would be right. */
  readonly want: string;
  /** The line it was found in and a caret below, for people who look at a terminal; logs, which have one line for a fault, leave it out. */
  readonly excerpt?: readonly string[];
}

export class ConfigError extends Error {
  readonly faults: readonly Fault[];

  constructor(faults: readonly Fault[]) {
    super(faults.map(faultLine).join("\n"));
    this.name = "ConfigError";
    this.faults = faults;
  }
}

export function faultLine(fault: Fault): string {
  return `${fault.where}: ${fault.got === undefined ? "missing" : `got ${fault.got}`}, want ${fault.want}`;
}

/** Runs `read`; what it finds wrong is added to `faults`. */
export function gather<T>(faults: Fault[], read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    faults.push(...error.faults);
    return undefined;
  }
}
