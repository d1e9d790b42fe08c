// What an executable says of itself (elf(5), System V ABI): for which machine it is, and which libraries it wants. For programs of another architecture, of which
// ldd(1) knows nothing. 64 bits, little-endian:
//
//   header:           0 7f 45 4c 46   4 u8 class (2: 64 bits)   5 u8 order (1: little)   18 u16 machine
//                     32 u64 program headers' offset   54 u16 length of one   56 u16 number of them
//   program header:   0 u32 type   8 u64 offset   16 u64 address   32 u64 length in the file
//   dynamic entry:    0 u64 tag   8 u64 value

import { closeSync, openSync, readSync } from "node:fs";

/** elf.h: EM_X86_64, EM_AARCH64. */
const MACHINES: Readonly<Record<number, string>> = { 62: "amd64", 183: "arm64" };

const [PT_LOAD, PT_DYNAMIC, PT_INTERP] = [1, 2, 3];
const [DT_NEEDED, DT_STRTAB, DT_STRSZ] = [1, 5, 10];
const [HEADER_BYTES, ENTRY_BYTES] = [64, 16];

export interface Elf {
  /** "arm64", as Debian calls it; "machine 40" for others. */
  readonly machine: string;
  /** "/lib/ld-linux-aarch64.so.1"; nothing for a static program or a library. */
  readonly interpreter: string | undefined;
  /** "libc.so.6" */
  readonly needed: readonly string[];
}

/** Undefined for what is no ELF file, as a script. */
export function readElf(path: string): Elf | undefined {
  const fd = openSync(path, "r");
  try {
    const at = (offset: number, length: number) => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
    };
    const header = at(0, HEADER_BYTES);
    if (header.length < HEADER_BYTES || header.readUInt32BE(0) !== 0x7f454c46) return undefined;
    if (header[4] !== 2 || header[5] !== 1) throw new Error(`${path} is not of 64 bits, little-endian`);
    const machine = header.readUInt16LE(18);
    const [size, count] = [header.readUInt16LE(54), header.readUInt16LE(56)];
    const table = at(number(header, 32), size * count);
    const segments = Array.from({ length: count }, (_, i) => table.subarray(i * size)).map((entry) => ({
      type: entry.readUInt32LE(0),
      offset: number(entry, 8),
      address: number(entry, 16),
      length: number(entry, 32),
    }));
    const interp = segments.find(({ type }) => type === PT_INTERP);
    const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
    const entries = dynamic ? dynamicEntries(at(dynamic.offset, dynamic.length)) : [];
    const value = (wanted: number) => entries.find(({ tag }) => tag === wanted)?.value ?? 0;
    const strings = value(DT_STRTAB);
    const loaded = segments.find(
      ({ type, address, length }) => type === PT_LOAD && strings >= address && strings < address + length,
    );
    const names = loaded ? at(strings - loaded.address + loaded.offset, value(DT_STRSZ)) : Buffer.alloc(0);
    return {
      machine: MACHINES[machine] ?? `machine ${machine}`,
      interpreter: interp && text(at(interp.offset, interp.length), 0),
      needed: entries.filter(({ tag }) => tag === DT_NEEDED).map((entry) => text(names, entry.value)),
    };
  } finally {
    closeSync(fd);
  }
}

function dynamicEntries(bytes: Buffer): readonly { readonly tag: number; readonly value: number }[] {
  return Array.from({ length: bytes.length / ENTRY_BYTES }, (_, i) => ({
    tag: number(bytes, i * ENTRY_BYTES),
    value: number(bytes, i * ENTRY_BYTES + 8),
  }));
}

function number(bytes: Buffer, offset: number): number {
  return Number(bytes.readBigUInt64LE(offset));
}

function text(bytes: Buffer, offset: number): string {
  return bytes.toString("latin1", offset, bytes.indexOf(0, offset));
}
