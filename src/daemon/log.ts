// Log lines in the form of klog, which collectors of Kubernetes logs know: severity, date, time, pid, source], text.

export type Severity = "I" | "W" | "E";

export interface Log {
  info(text: string): void;
  warn(text: string): void;
  error(text: string): void;
  /** Only with -v of this level or more. */
  detail(level: number, text: string): void;
}

/** A log to standard error. Text of several lines is several lines, each with its header. */
export function createLog(verbosity: number, write = (text: string) => void process.stderr.write(text)): Log {
  const line = (severity: Severity, text: string) => {
    const header = `${severity}${stamp(new Date())} ${String(process.pid).padStart(7)} flanneld] `;
    write(
      `${text
        .split("\n")
        .map((part) => header + part)
        .join("\n")}\n`,
    );
  };
  return {
    info: (text) => line("I", text),
    warn: (text) => line("W", text),
    error: (text) => line("E", text),
    detail: (level, text) => {
      if (verbosity >= level) line("I", text);
    },
  };
}

/** 1122 16:03:25.123000, local time. */
function stamp(date: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${two(date.getMonth() + 1)}${two(date.getDate())}`;
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, "0")}000`;
}
