// Keeps status.json true: written at once when phase or cause changes, and within a second when only counts do.

import { readFileSync } from "node:fs";
import { formatStatus, parseStatus, type Status } from "../config/status.ts";
import { writeFileAtomically } from "./atomic_file.ts";

const COUNTS_MS = 1_000;

type Fields = Partial<Omit<Status, "version" | "pid" | "startTime" | "since">>;

export class StatusFile {
  readonly #path: string;
  readonly #onError: (error: unknown) => void;
  readonly #onWrite: (status: Status) => void;
  #status: Status;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Backend of the run before, as its file tells. */
  readonly previousBackend: string | undefined;

  /** `onWrite` is told each status that is written. */
  constructor(
    path: string,
    version: string,
    onError: (error: unknown) => void,
    onWrite: (status: Status) => void = () => {},
  ) {
    this.#path = path;
    this.#onWrite = onWrite;
    this.#onError = onError;
    this.previousBackend = backendOfRun(path);
    const since = new Date().toISOString();
    this.#status = { version, pid: process.pid, startTime: processStartTime(), phase: "config", since };
  }

  get status(): Status {
    return this.#status;
  }

  set(fields: Fields): void {
    const before = this.#status;
    const turned = fields.phase !== undefined && (fields.phase !== before.phase || fields.cause !== before.cause);
    const cause = fields.phase === undefined ? before.cause : fields.cause;
    this.#status = { ...before, ...fields, cause, ...(turned && { since: new Date().toISOString() }) };
    if (turned) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), COUNTS_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      writeFileAtomically(this.#path, formatStatus(this.#status), 0o644);
    } catch (error) {
      this.#onError(error);
    }
    this.#onWrite(this.#status);
  }

  [Symbol.dispose](): void {
    if (this.#timer) this.flush();
  }
}

/** Field 22 of /proc/self/stat; the command name in field 2 may hold spaces. */
function processStartTime(): number {
  const stat = readFileSync("/proc/self/stat", "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
}

/** The backend of the run that wrote a status file. */
export function backendOfRun(path: string): string | undefined {
  try {
    return parseStatus(readFileSync(path, "utf8"))?.backend;
  } catch {
    return undefined; // a first start
  }
}
