// Runs the operator's editor on a text, as `kubectl edit` and `crontab -e` do.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** A file of the operator's own (0600, in a directory of 0700: a configuration may hold a key), removed unless it is kept. */
export class EditedFile implements Disposable {
  readonly path: string;
  readonly #directory = mkdtempSync(join(tmpdir(), "flannelctl-"));
  #kept = false;

  constructor(text: string) {
    this.path = join(this.#directory, "net-conf.json");
    writeFileSync(this.path, text, { mode: 0o600 });
  }

  get text(): string {
    return readFileSync(this.path, "utf8");
  }

  /** Resolves when the editor has ended; throws when it failed. VISUAL and EDITOR may hold options, so a shell reads them. */
  async edit(environment: Environment): Promise<void> {
    const editor = environment.VISUAL || environment.EDITOR || "vi";
    const child = Bun.spawn(["/bin/sh", "-c", `${editor} "$1"`, "sh", this.path], {
      stdio: ["inherit", "inherit", "inherit"],
      env: { ...environment },
    });
    const code = await child.exited;
    if (code !== 0) {
      throw new Error(
        `cannot edit the configuration: "${editor}" ended with ${code}; set EDITOR to an editor that is installed`,
      );
    }
  }

  /** Leaves the file when this is disposed. */
  keep(): void {
    this.#kept = true;
  }

  [Symbol.dispose](): void {
    if (!this.#kept) rmSync(this.#directory, { recursive: true, force: true });
  }
}
