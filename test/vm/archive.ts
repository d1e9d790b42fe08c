// The initramfs's format: a cpio archive "newc", as in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. Written here because
// names in the guest need not be those on the host, and nothing has to be copied to a staging directory first.
//
//   "070701"  magic, then 13 numbers of 8 hexadecimal digits:
//   ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
//   name, NUL, to a multiple of 4; contents, to a multiple of 4; the last entry is named TRAILER!!!

import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

export type Entry =
  | { readonly kind: "directory" }
  | { readonly kind: "symlink"; readonly target: string }
  | { readonly kind: "text"; readonly text: string; readonly executable?: boolean }
  | { readonly kind: "copy"; readonly source: string; readonly executable?: boolean };

const [DIRECTORY, SYMLINK, REGULAR] = [0o040755, 0o120777, 0o100644];
const EXECUTABLE = 0o111;

/** Writes an archive of `entries`, path in the guest ("/usr/bin/etcd") → entry; directories above them are added. */
export function writeArchive(path: string, entries: ReadonlyMap<string, Entry>): void {
  const file = openSync(path, "w", 0o600);
  try {
    let ino = 1;
    for (const [name, entry] of withParents(entries)) {
      const data = contents(entry);
      for (const part of record(ino++, name.slice(1), mode(entry), data)) writeWhole(file, part);
    }
    for (const part of record(0, "TRAILER!!!", 0, new Uint8Array())) writeWhole(file, part);
  } finally {
    closeSync(file);
  }
}

function withParents(entries: ReadonlyMap<string, Entry>): ReadonlyMap<string, Entry> {
  const all = new Map<string, Entry>();
  for (const [name, entry] of entries) {
    const steps = name.split("/").slice(1, -1);
    for (let n = 1; n <= steps.length; n++) {
      const parent = `/${steps.slice(0, n).join("/")}`;
      if (!all.has(parent)) all.set(parent, entries.get(parent) ?? { kind: "directory" });
    }
    all.set(name, entry);
  }
  return all;
}

function mode(entry: Entry): number {
  switch (entry.kind) {
    case "directory":
      return DIRECTORY;
    case "symlink":
      return SYMLINK;
    case "text":
    case "copy":
      return entry.executable ? REGULAR | EXECUTABLE : REGULAR;
  }
}

function contents(entry: Entry): Uint8Array {
  switch (entry.kind) {
    case "directory":
      return new Uint8Array();
    case "symlink":
      return Buffer.from(entry.target);
    case "text":
      return Buffer.from(entry.text);
    case "copy":
      return readFileSync(entry.source);
  }
}

function record(ino: number, name: string, mode: number, data: Uint8Array): readonly Uint8Array[] {
  const bytes = Buffer.from(`${name}\0`);
  const numbers = [ino, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, bytes.length, 0];
  const head = Buffer.from(`070701${numbers.map((value) => value.toString(16).padStart(8, "0")).join("")}`);
  return [head, bytes, padding(head.length + bytes.length), data, padding(data.length)];
}

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}

/** write(2) takes what it likes of a large buffer. */
function writeWhole(file: number, data: Uint8Array): void {
  for (let done = 0; done < data.length; ) done += writeSync(file, data, done);
}
