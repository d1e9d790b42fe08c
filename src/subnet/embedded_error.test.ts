import { describe, expect, test } from "bun:test";
import { isLocked, storeErrorOf } from "./embedded_error.ts";
import { StoreError, type StoreReason } from "./store_error.ts";

/** As node:fs throws it. */
function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: open`), { code, syscall: "open" });
}

/** As bun:sqlite throws it, which knows its errors by their name; their constructor is not ours to call. */
function sqliteError(errno: number, code: string): Error {
  return Object.assign(new Error("said so"), { name: "SQLiteError", errno, code });
}

describe("an error of the system or of SQLite becomes one that says what to do", () => {
  const rows: [string, Error, StoreReason, string][] = [
    [
      "ENOENT",
      systemError("ENOENT"),
      "absent",
      "cannot open store /x/s.db: ENOENT: /x is missing; make its directory, or give another --store-file",
    ],
    [
      "EACCES",
      systemError("EACCES"),
      "denied",
      "cannot open store /x/s.db: EACCES; flanneld needs to write it and its directory",
    ],
    [
      "EROFS",
      systemError("EROFS"),
      "denied",
      "cannot open store /x/s.db: EROFS; its file system is read-only; give another --store-file",
    ],
    ["EMFILE", systemError("EMFILE"), "unreachable", "cannot open store /x/s.db: EMFILE"],
    [
      "SQLITE_READONLY",
      sqliteError(8, "SQLITE_READONLY"),
      "denied",
      "cannot open store /x/s.db: SQLITE_READONLY (said so); flanneld needs to write it and its directory",
    ],
    [
      "SQLITE_FULL",
      sqliteError(13, "SQLITE_FULL"),
      "unreachable",
      "cannot open store /x/s.db: SQLITE_FULL (said so); make room on its file system",
    ],
    [
      "SQLITE_IOERR_WRITE",
      sqliteError(10 | (3 << 8), "SQLITE_IOERR_WRITE"),
      "unreachable",
      "cannot open store /x/s.db: SQLITE_IOERR_WRITE (said so); look for faults of the disk or file system",
    ],
  ];
  test.each(rows)("%s", (_code, error, reason, message) => {
    const made = storeErrorOf(error, "open", "/x/s.db", "embedded store /x/s.db");
    expect(made).toBeInstanceOf(StoreError);
    expect(made).toMatchObject({ reason, message, cause: error });
  });
});

test("an error of the program itself stays what it is", () => {
  const error = new TypeError("undefined is not a function");
  expect(storeErrorOf(error, "read", "/x/s.db", "e")).toBe(error);
});

test("busy and locked, in their extended forms too, are worth another try; the rest is not", () => {
  const locked = [5, 6, 5 | (2 << 8), 6 | (1 << 8)].map((errno) => isLocked(sqliteError(errno, "")));
  expect(locked).toEqual([true, true, true, true]);
  expect([11, 13].map((errno) => isLocked(sqliteError(errno, "")))).toEqual([false, false]);
  expect(isLocked(systemError("EBUSY"))).toBe(false);
});
