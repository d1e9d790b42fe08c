// What SQLite and the file system answer, as a StoreError that names the file, says what is wrong with it and what to
// do.

import { SQLiteError } from "bun:sqlite";
import { dirname } from "node:path";
import { StoreError, type StoreReason } from "./store_error.ts";

/**
 * Another connection holds the lock: worth another try. Also for "locked" (6) and the extended codes, whose low byte
 * is the code.
 */
export function isLocked(error: unknown): boolean {
  return error instanceof SQLiteError && [5, 6].includes(error.errno & 0xff);
}

/** Result codes of sqlite3.h (low byte) that say more than their text. */
const SQLITE: Record<number, readonly [StoreReason, string]> = {
  3: ["denied", "flanneld needs to read and write it"],
  8: ["denied", "flanneld needs to write it and its directory"],
  10: ["unreachable", "look for faults of the disk or file system"],
  11: ["invalid", "it is damaged: restore a copy, or move it away and start flanneld again for an empty one"],
  13: ["unreachable", "make room on its file system"],
  14: ["denied", "flanneld needs to write it and its directory"],
  26: ["invalid", "it is not a store: give another --store-file, or move it away"],
};

const SYSTEM: Record<string, readonly [StoreReason, string]> = {
  ENOENT: ["absent", "make its directory, or give another --store-file"],
  ENOTDIR: ["absent", "part of its path is a file; give another --store-file"],
  EISDIR: ["invalid", "it is a directory; give the path of a file"],
  EACCES: ["denied", "flanneld needs to write it and its directory"],
  EPERM: ["denied", "flanneld needs to write it and its directory"],
  EROFS: ["denied", "its file system is read-only; give another --store-file"],
  ENOSPC: ["unreachable", "make room on its file system"],
};

/** `error` as a StoreError about `path`; what is neither SQLite's nor the system's is returned as it is. */
export function storeErrorOf(error: unknown, verb: string, path: string, endpoint: string): unknown {
  if (error instanceof SQLiteError) {
    const [reason, advice] = SQLITE[error.errno & 0xff] ?? ["unreachable", undefined];
    const code = error.code ?? `SQLITE error ${error.errno}`;
    return storeError(reason, endpoint, `cannot ${verb} store ${path}: ${code} (${error.message})`, advice, error);
  }
  if (!(error instanceof Error) || !("code" in error) || !("syscall" in error)) return error;
  const code = String(error.code);
  const [reason, advice] = SYSTEM[code] ?? ["unreachable", undefined];
  const where = code === "ENOENT" ? `: ${dirname(path)} is missing` : "";
  return storeError(reason, endpoint, `cannot ${verb} store ${path}: ${code}${where}`, advice, error);
}

function storeError(reason: StoreReason, endpoint: string, message: string, advice: string | undefined, cause: Error) {
  return new StoreError(reason, endpoint, advice ? `${message}; ${advice}` : message, { cause });
}
