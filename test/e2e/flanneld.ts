// A flanneld under test: what its status.json says, and waiting for its phases.

import { existsSync, readFileSync } from "node:fs";
import { parseStatus, type Status } from "../../src/config/status.ts";
import { familiesOf } from "../../src/ip/family.ts";
import { Program, until } from "./program.ts";

/** A flanneld at work on a node. */
export class Flanneld extends Program {
  readonly #statusFile: string;
  readonly #routes: () => number;

  constructor(
    command: readonly string[],
    log: string,
    environment: Readonly<Record<string, string>>,
    statusFile: string,
    routes: () => number,
  ) {
    super(command, log, environment);
    this.#statusFile = statusFile;
    this.#routes = routes;
  }

  /** Its status.json; undefined while there is none or another process's. */
  get status(): Status | undefined {
    const status = existsSync(this.#statusFile) ? parseStatus(readFileSync(this.#statusFile, "utf8")) : undefined;
    return status?.pid === this.pid ? status : undefined;
  }

  async ready(): Promise<this> {
    await until("flanneld ready", () => this.status?.phase === "ready", this);
    return this;
  }

  /** Ready, and with routes to so many peers in every family of the network: status.json tells of peers before the kernel has them all. */
  async peers(count: number): Promise<this> {
    await this.ready();
    await until(
      `routes to ${count} peers`,
      () => this.#routes() === count * familiesOf(this.status?.network ?? {}).length,
      this,
    );
    return this;
  }

  /** Resident memory in KiB. */
  get rssKib(): number {
    return Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))?.[1]);
  }
}
