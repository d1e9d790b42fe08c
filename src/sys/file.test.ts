import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  mkdirSync,
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
import { namesIn, readAll, readText, readTextIfAny, removeIfAny, writeText } from "./file.ts";
import { close, identityOf, link, mkdir, O_RDONLY, open, rename } from "./libc.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "flannel-file-"));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

test.each(["", "short", "ä€😀\n", "x".repeat(16 << 10), "y".repeat(100_000)])(
  "a text is read as it was written",
  (text) => {
    const path = join(root, "ä file");
    writeText(path, "something longer than the text that follows", { mode: 0o600 });
    writeText(path, text, { mode: 0o644, sync: true });
    expect(readFileSync(path, "utf8")).toBe(text);
    expect(readText(path)).toBe(text);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  },
);

test("readAll gives up at the limit", () => {
  writeFileSync(join(root, "a"), "x".repeat(101));
  const fd = open(join(root, "a"), O_RDONLY);
  expect(readAll(fd, "a", 100)).toBeUndefined();
  close(fd);
});

test("what is missing is undefined where it may be, and an error with the path where not", () => {
  const path = join(root, "none");
  expect([readTextIfAny(path), removeIfAny(path)]).toEqual([undefined, undefined]);
  expect(() => readText(path)).toThrow(`cannot open ${path}: ENOENT`);
  expect(() => namesIn(path)).toThrow("ENOENT");
  expect(() => readTextIfAny(root)).toThrow("EISDIR");
});

test("namesIn lists what is there, however much it is", () => {
  const names = Array.from({ length: 1_000 }, (_, n) => `file number ${n} of a directory with long names`);
  for (const name of names) writeFileSync(join(root, name), "");
  writeFileSync(join(root, ".hidden"), "");
  mkdirSync(join(root, "directory"));
  expect(namesIn(root).sort()).toEqual([...names, ".hidden", "directory"].sort());
});

test("rename, link, mkdir and identityOf do what their commands do", () => {
  mkdir(join(root, "d"), 0o700);
  expect(statSync(join(root, "d")).mode & 0o777).toBe(0o700);
  writeText(join(root, "a"), "a");
  link(join(root, "a"), join(root, "b"));
  expect(() => link(join(root, "a"), join(root, "b"))).toThrow("EEXIST");
  symlinkSync("a", join(root, "symbolic"));
  expect(identityOf(join(root, "symbolic"))).toBe(identityOf(join(root, "b")));
  expect(identityOf(join(root, "d"))).not.toBe(identityOf(join(root, "b")));
  rename(join(root, "a"), join(root, "d/c"));
  removeIfAny(join(root, "b"));
  expect([readdirSync(root).sort(), readdirSync(join(root, "d"))]).toEqual([["d", "symbolic"], ["c"]]);
});

test("a pipe that does not block is waited for, on either side", async () => {
  // Both ends of a pipe of perl are non-blocking for the program that inherits them; `sleep` makes either side wait.
  const program = `
    const { readAll, writeAll } = await import(${JSON.stringify(join(import.meta.dir, "file.ts"))});
    writeAll(1, readAll(0, "in").toUpperCase(), "out");`;
  const script = `
    use Fcntl; for (*STDIN, *STDOUT) { fcntl($_, F_SETFL, O_NONBLOCK | fcntl($_, F_GETFL, 0)) } exec @ARGV`;
  const command = `(sleep 0.2; head -c 300000 /dev/zero | tr '\\0' a) | perl -e "$SCRIPT" "$BUN" -e "$PROGRAM" | (sleep 0.5; wc -c)`;
  const env = { ...process.env, SCRIPT: script, PROGRAM: program, BUN: process.execPath };
  const child = Bun.spawn(["sh", "-c", command], { env, stdout: "pipe", stderr: "pipe" });
  expect([await new Response(child.stdout).text(), await new Response(child.stderr).text()]).toEqual(["300000\n", ""]);
});
