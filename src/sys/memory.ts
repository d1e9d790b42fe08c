// Gives back memory that only the start needed. Most of what a fresh process has resident are pages of its executable, read once: parsers and compilers of
// the runtime. They are unmapped here and stay in the page cache; what is needed again comes back by a minor fault, without reading.

import { readFileSync, readlinkSync } from "node:fs";
import { madvise } from "./libc.ts";

/** asm-generic/mman-common.h. Of a private file mapping it drops nothing but unwritten pages, and code is never written. */
const MADV_DONTNEED = 4;

/** Unmaps the resident pages of the executable's code. */
export function dropStartupCode(): void {
  const executable = readlinkSync("/proc/self/exe");
  for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
    // 01a40000-0684a000 r-xp 01838000 fe:00 5310978   /usr/bin/flanneld
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) r-xp /.exec(line) ?? [];
    if (start && end && line.endsWith(` ${executable}`))
      madvise(BigInt(`0x${start}`), BigInt(`0x${end}`), MADV_DONTNEED);
  }
}
