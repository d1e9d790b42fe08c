// A program that becomes another, which the kernel refuses some system calls (refusals.ts): refuse.ts FEATURE,… PROGRAM ARGUMENT…. The filter is put on this thread,
// which is the one that execvp(3) leaves, and goes to all that comes of it: process number, signals and files stay those of whoever started this. Needs root.

import { dlopen, FFIType, ptr } from "bun:ffi";
import { type Feature, filterOf } from "./refusals.ts";

const { symbols: c } = dlopen("libc.so.6", {
  prctl: { args: [FFIType.i32, FFIType.u64, FFIType.ptr, FFIType.u64, FFIType.u64], returns: FFIType.i32 },
  execvp: { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.i32 },
});

const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2;

const [features = "", program = "", ...rest] = process.argv.slice(2);
const terminated = (text: string) => new TextEncoder().encode(`${text}\0`);

/** struct sock_fprog: 0 u16 number of instructions   8 their address; struct sock_filter: 0 u16 code   2 u8 jt   3 u8 jf   4 u32 k */
const filter = filterOf(features.split(",") as Feature[]);
const instructions = new DataView(new ArrayBuffer(8 * filter.length));
for (const [i, { code, jumpTrue = 0, jumpFalse = 0, k }] of filter.entries()) {
  instructions.setUint16(8 * i, code, true);
  instructions.setUint8(8 * i + 2, jumpTrue);
  instructions.setUint8(8 * i + 3, jumpFalse);
  instructions.setUint32(8 * i + 4, k, true);
}
const header = new BigUint64Array([BigInt(filter.length), BigInt(ptr(instructions))]);

const words = [program, ...rest].map(terminated);
const argv = new BigUint64Array([...words.map((word) => BigInt(ptr(word))), 0n]);
if (c.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0) !== 0) throw new Error("the kernel takes no filter");
c.execvp(terminated(program), argv);
throw new Error(`cannot become ${program}`);
