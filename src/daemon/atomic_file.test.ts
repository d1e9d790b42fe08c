import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFileAtomically, writeFilesAtomically } from "./atomic_file.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "atomic-file-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const permissions = (path: string) => statSync(path).mode & 0o777;

test("writeFileAtomically makes directory and file with their modes, whatever the umask, and leaves nothing else", () => {
  const umask = process.umask(0o077);
  try {
    const path = join(directory, "subnet.env");
    writeFileAtomically(path, "a=1\n", 0o644);
    expect(readFileSync(path, "utf8")).toBe("a=1\n");
    expect(permissions(path)).toBe(0o644);
  } finally {
    process.umask(umask);
  }
  const below = join(directory, "run", "flannel");
  writeFileAtomically(join(below, "key"), "k", 0o400);
  expect(permissions(below)).toBe(0o755);
  expect(permissions(join(below, "key"))).toBe(0o400);
  expect(readdirSync(below)).toEqual(["key"]);
});

test("writeFileAtomically replaces the file, so that a reader of the old one keeps it whole", () => {
  const path = join(directory, "f");
  writeFileAtomically(path, "old", 0o600);
  const before = statSync(path).ino;
  writeFileAtomically(path, "new", 0o644);
  expect(readFileSync(path, "utf8")).toBe("new");
  expect(statSync(path).ino).not.toBe(before);
  expect(permissions(path)).toBe(0o644);
});

test("writeFileAtomically writes through no symbolic link, neither at the path nor at the temporary name", () => {
  const victim = join(directory, "victim");
  writeFileSync(victim, "untouched");
  const path = join(directory, "f");
  symlinkSync(victim, path);
  symlinkSync(victim, join(directory, `.f.${process.pid}`));
  writeFileAtomically(path, "new", 0o644);
  expect(readFileSync(victim, "utf8")).toBe("untouched");
  expect(readFileSync(path, "utf8")).toBe("new");
});

test("writeFileAtomically that fails says why, leaves the old file and no temporary one", () => {
  const path = join(directory, "f");
  writeFileSync(join(directory, "file"), "");
  expect(() => writeFileAtomically(join(directory, "file", "f"), "", 0o644)).toThrow(
    /^cannot write .*\/file\/f: E(NOTDIR|EXIST) \(.+\)$/,
  );
  // A directory stands where the file should: rename refuses, after the temporary file was written.
  writeFileAtomically(join(path, "inner"), "x", 0o644);
  expect(() => writeFileAtomically(path, "", 0o644)).toThrow(/cannot write .*: E(ISDIR|NOTEMPTY|EXIST) \(.+\)$/);
  expect(existsSync(join(path, "inner"))).toBe(true);
  expect(readdirSync(directory).sort()).toEqual(["f", "file"]);
});

test("writeFilesAtomically changes none when one cannot be written, and with keep replaces none that is there", () => {
  const [key, certificate] = [join(directory, "key"), join(directory, "certificate")];
  const files = (where: string) => [
    { path: key, text: "new", mode: 0o600 },
    { path: where, text: "new", mode: 0o644 },
  ];
  writeFileSync(key, "old");
  expect(() => writeFilesAtomically(files(join(key, "below")))).toThrow("cannot write");
  expect(readFileSync(key, "utf8")).toBe("old");
  expect(() => writeFilesAtomically(files(certificate), true)).toThrow(`cannot write ${key}: EEXIST`);
  expect([readFileSync(key, "utf8"), existsSync(certificate)]).toEqual(["old", false]);
  rmSync(key);
  writeFileSync(certificate, "old");
  expect(() => writeFilesAtomically(files(certificate), true)).toThrow(`cannot write ${certificate}: EEXIST`);
  expect([existsSync(key), readFileSync(certificate, "utf8")]).toEqual([false, "old"]);
  writeFilesAtomically(files(certificate));
  expect([readFileSync(key, "utf8"), readFileSync(certificate, "utf8")]).toEqual(["new", "new"]);
  expect([permissions(key), readdirSync(directory).sort()]).toEqual([0o600, ["certificate", "key"]]);
});
