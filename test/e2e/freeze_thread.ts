// Stops one thread of another process, as a call that never returns would, and keeps it so until this program is killed: bun freeze_thread.ts TID. By ptrace(2), since
// signals stop whole processes. Says "frozen" once the thread is.

import { dlopen, FFIType, type Pointer } from "bun:ffi";

const { i32, i64, u64, ptr } = FFIType;

/** sys/ptrace.h, bits/waitflags.h */
const PTRACE_SEIZE = 0x4206;
const PTRACE_INTERRUPT = 0x4207;
const WNOHANG = 1;
const WALL = 0x40000000;

const { symbols: c } = dlopen("libc.so.6", {
  ptrace: { args: [i32, i32, u64, u64], returns: i64 },
  waitpid: { args: [i32, ptr, i32], returns: i32 },
});

const thread = Number(process.argv[2]);
if (Number(c.ptrace(PTRACE_SEIZE, thread, 0, 0)) !== 0) throw new Error(`cannot trace the thread ${thread}`);
c.ptrace(PTRACE_INTERRUPT, thread, 0, 0);
const gone = (flags: number) => c.waitpid(thread, 0 as Pointer, WALL | flags);
if (gone(0) !== thread) throw new Error(`the thread ${thread} did not stop`);
console.log("frozen");
// When the process ends, its end waits for whoever traces one of its threads to take note.
while (gone(WNOHANG) === 0) await Bun.sleep(20);
