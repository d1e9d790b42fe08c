// Replaces a file as a whole: a reader sees the old text or the new, never a part, also when the machine stops in between.

import {
  chmodSync,
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

/** Writes `text` to `path` with permissions `mode`, making the directory (0755) if there is none. */
export function writeFileAtomically(path: string, text: string, mode: number): void {
  const directory = dirname(path);
  // In the same directory, since a rename does not cross file systems; by pid, so that a crashed writer leaves one file at most.
  const temporary = join(directory, `.${basename(path)}.${process.pid}`);
  try {
    if (mkdirSync(directory, { recursive: true })) chmodSync(directory, 0o755); // whatever the umask
    rmSync(temporary, { force: true });
    try {
      writeAndSync(temporary, text, mode);
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  } catch (error) {
    throw new Error(`cannot write ${path}: ${errnoWords(error)}`, { cause: error });
  }
}

function writeAndSync(path: string, text: string, mode: number): void {
  // "wx": never through a file or symbolic link that somebody else put there.
  const file = openSync(path, "wx", mode);
  try {
    writeFileSync(file, text);
    fchmodSync(file, mode); // the umask had its way with the mode of open(2)
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** "EACCES (permission denied)" of node's "EACCES: permission denied, open '/run/x'". */
function errnoWords(error: unknown): string {
  const [, name, words] = error instanceof Error ? (/^([A-Z0-9]+): (.*?)(?:, \w+.*)?$/.exec(error.message) ?? []) : [];
  return name ? `${name} (${words})` : String(error);
}
