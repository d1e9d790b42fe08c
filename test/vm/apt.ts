// Debian's packages of another architecture, unpacked and never installed: apt with lists, cache and an empty status of its own reads this machine's sources, and
// this machine's dpkg and apt hear nothing of it. No maintainer script runs.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CACHE, command } from "./cache.ts";
import type { Architecture } from "./machine.ts";

export class Apt {
  readonly #architecture: Architecture;
  readonly #directory: string;

  constructor(architecture: Architecture) {
    if (!Bun.which("apt-get")) throw new Error(`cannot get packages of ${architecture}: this machine has no apt-get`);
    this.#architecture = architecture;
    this.#directory = join(CACHE, `apt-${architecture}`);
    for (const part of ["lists/partial", "archives/partial"])
      mkdirSync(join(this.#directory, part), { recursive: true });
    writeFileSync(join(this.#directory, "status"), "");
    if (!readdirSync(join(this.#directory, "lists")).some((name) => name.includes("Packages"))) this.update();
  }

  update(): void {
    this.run(["apt-get", "update"]);
  }

  /** The output of one of apt's programs. */
  run([program = "", ...words]: readonly string[], cwd?: string): string {
    const at = (name: string) => join(this.#directory, name);
    const settings = {
      "APT::Architecture": this.#architecture,
      "APT::Architectures": this.#architecture,
      "APT::Sandbox::User": "root",
      "APT::Install-Recommends": "false",
      "Dir::State": this.#directory,
      "Dir::State::lists": at("lists"),
      "Dir::State::status": at("status"),
      "Dir::Cache": this.#directory,
    };
    return command([program, ...Object.entries(settings).map(([name, value]) => `-o${name}=${value}`), ...words], cwd);
  }

  /** A directory with the files of these packages and of all that they depend on; made when there is none of their versions. */
  unpacked(packages: readonly string[]): string {
    const found = this.#place(packages);
    if (existsSync(found)) return found;
    // What the lists name may be gone by now.
    this.update();
    const directory = this.#place(packages);
    makeDirectory(directory, (work, root) => {
      this.run(["apt-get", "--yes", "--download-only", `-oDir::Cache::archives=${work}`, "install", ...packages]);
      for (const name of archivesIn(work)) command(["dpkg-deb", "-x", join(work, name), root]);
    });
    return directory;
  }

  /** By the versions of all. */
  #place(packages: readonly string[]): string {
    const locations = this.run(["apt-get", "--yes", "--print-uris", "-qq", "install", ...packages]);
    return join(CACHE, `packages-${this.#architecture}_${Bun.hash(locations).toString(16)}`);
  }
}

export function archivesIn(directory: string): readonly string[] {
  return readdirSync(directory).filter((name) => name.endsWith(".deb"));
}

/** Fills `root` and calls it `directory` when it is whole: an interrupted one must not look so. `work` goes. */
export function makeDirectory(directory: string, fill: (work: string, root: string) => void): void {
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, "new-"));
  try {
    const root = join(work, "root");
    mkdirSync(join(work, "partial"));
    fill(work, root);
    if (!existsSync(directory)) renameSync(root, directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
