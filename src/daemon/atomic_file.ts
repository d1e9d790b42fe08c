// Replaces a file as a whole: a reader sees the old text or the new, never a part, also when the machine stops in between.

import {
  chmodSync,
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

/** Writes `text` to `path` with permissions `mode`, making the directory (0755) if there is none. */
export function writeFileAtomically(path: string, text: string, mode: number): void {
  writeFilesAtomically([{ path, text, mode }]);
}

export interface WrittenFile {
  readonly path: string;
  readonly text: string;
  readonly mode: number;
  /** Whose the file is to be; the writer's when left out. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

/**
 * Files that belong together: all are written beside their places before the first is put there, so that a full disk changes none. With `keep` none that
 * exists is replaced, also not one that appears meanwhile.
 */
export function writeFilesAtomically(files: readonly WrittenFile[], keep = false): void {
  const staged: { readonly path: string; readonly temporary: string }[] = [];
  const placed: string[] = [];
  try {
    for (const { path, text, mode, owner } of files) {
      naming(path, () => {
        const directory = dirname(path);
        // In the same directory, since a rename does not cross file systems; by pid, so that a crashed writer leaves one file at most.
        const temporary = join(directory, `.${basename(path)}.${process.pid}`);
        if (mkdirSync(directory, { recursive: true })) chmodSync(directory, 0o755); // whatever the umask
        rmSync(temporary, { force: true });
        staged.push({ path, temporary });
        writeAndSync(temporary, text, mode, owner);
      });
    }
    for (const { path, temporary } of staged) {
      naming(path, () => (keep ? linkSync(temporary, path) : renameSync(temporary, path)));
      placed.push(path);
    }
  } catch (error) {
    // Those that were not there before; what has been replaced cannot be brought back.
    if (keep) for (const path of placed) rmSync(path, { force: true });
    throw error;
  } finally {
    for (const { temporary } of staged) rmSync(temporary, { force: true });
  }
}

function naming(path: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    throw new Error(`cannot write ${path}: ${errnoWords(error)}`, { cause: error });
  }
}

function writeAndSync(path: string, text: string, mode: number, owner: WrittenFile["owner"]): void {
  // "wx": never through a file or symbolic link that somebody else put there.
  const file = openSync(path, "wx", mode);
  try {
    writeFileSync(file, text);
    if (owner) fchownSync(file, owner.uid, owner.gid);
    fchmodSync(file, mode); // the umask had its way with the mode of open(2)
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** "EACCES (permission denied)" of node's "EACCES: permission denied, open '/run/x'". */
export function errnoWords(error: unknown): string {
  const [, name, words] = error instanceof Error ? (/^([A-Z0-9]+): (.*?)(?:, \w+.*)?$/.exec(error.message) ?? []) : [];
  return name ? `${name} (${words})` : String(error);
}
