// Files by the C library's calls alone. node:fs does the same and costs each start of a process 0.8 ms, which is a tenth of what a pod waits for the CNI plugin; what
// runs only once, or as a daemon, uses node:fs. Everything throws SysError.

import { EAGAIN, EEXIST, ENOENT, SysError } from "./error.ts";
import {
  close,
  fsync,
  ftruncate,
  getdents64,
  mkdir,
  O_CREAT,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  open,
  POLLIN,
  POLLOUT,
  poll,
  readInto,
  unlink,
  writeFrom,
} from "./libc.ts";

const CHUNK_BYTES = 16 << 10;
const FOREVER = -1;

/** All that can be read from an open file. `maxBytes` is where it gives up, with undefined. */
export function readAll(fd: number, subject: string, maxBytes = Number.POSITIVE_INFINITY): string | undefined {
  let bytes = new Uint8Array(CHUNK_BYTES);
  let length = 0;
  for (;;) {
    const count = waiting(fd, POLLIN, subject, () => readInto(fd, bytes.subarray(length), subject));
    if (count === 0) return new TextDecoder().decode(bytes.subarray(0, length));
    length += count;
    if (length > maxBytes) return undefined;
    if (length === bytes.length) {
      const larger = new Uint8Array(bytes.length * 2);
      larger.set(bytes);
      bytes = larger;
    }
  }
}

/** The text of a file. */
export function readText(path: string): string {
  const fd = open(path, O_RDONLY);
  try {
    return readAll(fd, path) ?? "";
  } finally {
    close(fd);
  }
}

/** The text of a file, undefined when there is none. */
export function readTextIfAny(path: string): string | undefined {
  return unlessMissing(() => readText(path));
}

export function writeAll(fd: number, text: string, subject: string): void {
  let rest = new TextEncoder().encode(text);
  while (rest.length > 0) {
    const part = rest;
    rest = rest.subarray(waiting(fd, POLLOUT, subject, () => writeFrom(fd, part, subject)));
  }
}

/** Whoever made a pipe may have made it non-blocking, also for this side. */
function waiting(fd: number, events: number, subject: string, act: () => number): number {
  for (;;) {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof SysError) || error.errno !== EAGAIN) throw error;
      poll(fd, events, FOREVER, subject);
    }
  }
}

export interface WriteOptions {
  /** Permissions of a file that is made, less the umask. */
  readonly mode?: number;
  /** Whether the disk is to have it when this returns. */
  readonly sync?: boolean;
}

/** Makes or replaces the content of a file; not at once for a reader: write beside it and rename for that. */
export function writeText(path: string, text: string, { mode = 0o644, sync = false }: WriteOptions = {}): void {
  const fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  try {
    writeAll(fd, text, path);
    if (sync) fsync(fd, path);
  } finally {
    close(fd);
  }
}

/**
 * As writeText, for what is only a hint: a reader may find the new text with the end of the old. ext4 and XFS bring a file to the disk when it is closed after
 * it was emptied (O_TRUNC), which takes ten times as long.
 */
export function overwriteText(path: string, text: string): void {
  const bytes = new TextEncoder().encode(text);
  const fd = open(path, O_WRONLY | O_CREAT, 0o644);
  try {
    writeFrom(fd, bytes, path);
    ftruncate(fd, bytes.length, path);
  } finally {
    close(fd);
  }
}

/** `mkdir -p`. */
export function makeDirectories(path: string, mode: number): void {
  try {
    mkdir(path, mode);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.errno === EEXIST) return;
    const above = path.slice(0, path.replace(/\/+$/, "").lastIndexOf("/"));
    if (error.errno !== ENOENT || above === "") throw error;
    makeDirectories(above, mode);
    makeDirectories(path, mode);
  }
}

export function removeIfAny(path: string): void {
  unlessMissing(() => unlink(path));
}

/**
 * The names in a directory, but "." and "..".
 *
 * struct linux_dirent64:   0 u64 inode   8 u64 offset   16 u16 length of this entry   18 u8 type   19 name, with a NUL
 */
export function namesIn(path: string): string[] {
  const names: string[] = [];
  const fd = open(path, O_RDONLY);
  try {
    const bytes = new Uint8Array(CHUNK_BYTES);
    const view = new DataView(bytes.buffer);
    const decoder = new TextDecoder();
    for (;;) {
      const length = getdents64(fd, bytes, path);
      if (length === 0) return names;
      for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
        const name = decoder.decode(bytes.subarray(at + 19, bytes.indexOf(0, at + 19)));
        if (name !== "." && name !== "..") names.push(name);
      }
    }
  } finally {
    close(fd);
  }
}

/** What `act` gives, undefined when it fails because there is no such file. */
export function unlessMissing<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof SysError && error.errno === ENOENT) return undefined;
    throw error;
  }
}
