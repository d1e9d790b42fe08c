// The C library, as far as the kernel's network is only to be had through it, and files for file.ts. This folder is the
// only one that imports bun:ffi. Every function here throws SysError; none blocks except poll and flock.
//
// Buffers are passed as views, not as addresses: the call's wrapper then takes the address at the last moment and holds
// the view while the kernel reads or writes it. Lengths fit in 32 bits, so ssize_t is read as int.

import { dlopen, FFIType, type Pointer, ptr as pointerTo, read } from "bun:ffi";
import { EINTR, SysError } from "./error.ts";

const { i32, i64, u32, u64, ptr } = FFIType;

const { symbols: c } = dlopen("libc.so.6", {
  __errno_location: { args: [], returns: ptr },
  socket: { args: [i32, i32, i32], returns: i32 },
  bind: { args: [i32, ptr, u32], returns: i32 },
  getsockname: { args: [i32, ptr, ptr], returns: i32 },
  setsockopt: { args: [i32, i32, i32, ptr, u32], returns: i32 },
  send: { args: [i32, ptr, u64, i32], returns: i32 },
  sendto: { args: [i32, ptr, u64, i32, ptr, u32], returns: i32 },
  recv: { args: [i32, ptr, u64, i32], returns: i32 },
  poll: { args: [ptr, u64, i32], returns: i32 },
  open: { args: [ptr, i32, i32], returns: i32 },
  close: { args: [i32], returns: i32 },
  read: { args: [i32, ptr, u64], returns: i32 },
  write: { args: [i32, ptr, u64], returns: i32 },
  ftruncate: { args: [i32, i64], returns: i32 },
  fsync: { args: [i32], returns: i32 },
  getdents64: { args: [i32, ptr, u64], returns: i32 },
  mkdir: { args: [ptr, u32], returns: i32 },
  rename: { args: [ptr, ptr], returns: i32 },
  link: { args: [ptr, ptr], returns: i32 },
  unlink: { args: [ptr], returns: i32 },
  statx: { args: [i32, ptr, i32, u32, ptr], returns: i32 },
  setns: { args: [i32, i32], returns: i32 },
  flock: { args: [i32, i32], returns: i32 },
  madvise: { args: [u64, u64, i32], returns: i32 },
  localtime_r: { args: [ptr, ptr], returns: ptr },
});

/** bits/socket.h */
export const AF_UNIX = 1;
export const AF_NETLINK = 16;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;

/** asm-generic/socket.h */
export const SOL_SOCKET = 1;
export const SO_RCVBUF = 8;
/** Beyond net.core.rmem_max; needs CAP_NET_ADMIN. */
export const SO_RCVBUFFORCE = 33;

const SO_ATTACH_FILTER = 26;

/** linux/bpf_common.h: load a word in network order, compare with a constant, return a constant. */
export const BPF_LD_W_ABS = 0x20;
export const BPF_JEQ_K = 0x15;
export const BPF_RET_K = 0x06;

/** bits/poll.h */
export const POLLIN = 0x001;
export const POLLOUT = 0x004;

/** bits/fcntl-linux.h */
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_CREAT = 0o100;
export const O_TRUNC = 0o1000;
export const O_CLOEXEC = 0o2000000;

/** bits/fcntl.h (sys/file.h) */
export const LOCK_EX = 2;
export const LOCK_NB = 4;

const AT_FDCWD = -100;
/** linux/stat.h */
const STATX_INO = 0x100;

/** bits/sched.h */
export const CLONE_NEWNET = 0x40000000;

/** A file descriptor. `subject` in all of these is how an error names what was called on. */
export function socket(domain: number, type: number, protocol: number, subject: string): number {
  return checked(c.socket(domain, type, protocol), "socket", subject);
}

/** `address`: a struct sockaddr of the socket's domain. */
export function bind(fd: number, address: Uint8Array, subject: string): void {
  checked(c.bind(fd, address, address.length), "bind", subject);
}

/** The socket's own address, a struct sockaddr of at most 128 bytes. */
export function getsockname(fd: number, subject: string): Uint8Array {
  const address = new Uint8Array(128);
  const length = new Uint32Array([address.length]);
  checked(c.getsockname(fd, address, length), "getsockname", subject);
  return address.subarray(0, length[0]);
}

/** An option whose value is an int. */
export function setsockopt(fd: number, level: number, option: number, value: number, subject: string): void {
  const bytes = new Int32Array([value]);
  if (c.setsockopt(fd, level, option, bytes, bytes.byteLength) < 0) throw failed("setsockopt", subject);
}

/** An instruction of a classic BPF program; `jumpTrue` and `jumpFalse` count the instructions to step over. */
export interface FilterInstruction {
  /** BPF_* */
  readonly code: number;
  readonly jumpTrue?: number;
  readonly jumpFalse?: number;
  readonly k: number;
}

/**
 * Lets a socket receive only datagrams of which `program` returns a length above 0.
 *
 * struct sock_fprog, 16 bytes:   0 u16 number of instructions   8 pointer to them
 * struct sock_filter, 8 bytes:   0 u16 code   2 u8 jt   3 u8 jf   4 u32 k
 */
export function attachFilter(fd: number, program: readonly FilterInstruction[], subject: string): void {
  // Both in one buffer, which the call holds.
  const headerLength = 16;
  const bytes = new Uint8Array(new ArrayBuffer(headerLength + program.length * 8));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, program.length, true);
  view.setBigUint64(8, BigInt(pointerTo(bytes) + headerLength), true);
  for (const [i, { code, jumpTrue = 0, jumpFalse = 0, k }] of program.entries()) {
    const at = headerLength + i * 8;
    view.setUint16(at, code, true);
    view.setUint8(at + 2, jumpTrue);
    view.setUint8(at + 3, jumpFalse);
    view.setUint32(at + 4, k, true);
  }
  checked(c.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, bytes, headerLength), "setsockopt", subject);
}

/** Sends all of `bytes` as one datagram, to where the socket is connected; a netlink socket's is the kernel. */
export function send(fd: number, bytes: Uint8Array, flags: number, subject: string): void {
  let sent: number;
  do sent = c.send(fd, bytes, bytes.length, flags);
  while (sent < 0 && errno() === EINTR);
  if (sent < 0) throw failed("send", subject);
}

/** Sends all of `bytes` as one datagram to `address`, a struct sockaddr. */
export function sendto(fd: number, bytes: Uint8Array, flags: number, address: Uint8Array, subject: string): void {
  let sent: number;
  do sent = c.sendto(fd, bytes, bytes.length, flags, address, address.length);
  while (sent < 0 && errno() === EINTR);
  checked(sent, "sendto", subject);
}

/** Reads one datagram; with MSG_TRUNC the length returned is the datagram's, which may be more than the buffer took. */
export function recv(fd: number, buffer: Uint8Array, flags: number, subject: string): number {
  let received: number;
  do received = c.recv(fd, buffer, buffer.length, flags);
  while (received < 0 && errno() === EINTR);
  if (received < 0) throw failed("recv", subject);
  return received;
}

/** Reads one datagram without waiting; the negative errno when there is none or the socket failed. */
export function recvNow(fd: number, buffer: Uint8Array): number {
  const received = Number(c.recv(fd, buffer, buffer.length, MSG_DONTWAIT));
  return received < 0 ? -errno() : received;
}

/** Blocks the thread until `fd` has one of `events` (POLL*); what it has, 0 when `timeoutMs` passed. */
export function poll(fd: number, events: number, timeoutMs: number, subject: string): number {
  // struct pollfd: 0 int fd, 4 short events, 6 short revents
  const entry = new DataView(new ArrayBuffer(8));
  entry.setInt32(0, fd, true);
  entry.setInt16(4, events, true);
  const bytes = new Uint8Array(entry.buffer);
  let ready: number;
  do ready = c.poll(bytes, 1, timeoutMs);
  while (ready < 0 && errno() === EINTR);
  return checked(ready, "poll", subject) > 0 ? entry.getInt16(6, true) : 0;
}

/** MADV_* (bits/mman.h) for the mapping from `start` to `end`, addresses in this process. */
export function madvise(start: bigint, end: bigint, advice: number): void {
  checked(c.madvise(start, end - start, advice), "madvise", `0x${start.toString(16)}`);
}

/** A file descriptor. `mode`: permissions of a file that O_CREAT makes, less the umask. */
export function open(path: string, flags: number, mode = 0): number {
  const result = c.open(terminated(path), flags | O_CLOEXEC, mode);
  if (result < 0) throw failed("open", path);
  return result;
}

/** Bytes read into `buffer`; 0 at the end. */
export function readInto(fd: number, buffer: Uint8Array, subject: string): number {
  let count: number;
  do count = c.read(fd, buffer, buffer.length);
  while (count < 0 && errno() === EINTR);
  if (count < 0) throw failed("read", subject);
  return count;
}

/** Bytes written, which need not be all. */
export function writeFrom(fd: number, bytes: Uint8Array, subject: string): number {
  let count: number;
  do count = c.write(fd, bytes, bytes.length);
  while (count < 0 && errno() === EINTR);
  if (count < 0) throw failed("write", subject);
  return count;
}

/** Returns when the disk has the file. */
/** Cuts a file off, or lengthens it. */
export function ftruncate(fd: number, length: number, subject: string): void {
  checked(c.ftruncate(fd, length), "ftruncate", subject);
}

export function fsync(fd: number, subject: string): void {
  checked(c.fsync(fd), "fsync", subject);
}

/** The next entries of an open directory, as many as fit `buffer` (file.ts has the layout); 0 at the end. */
export function getdents64(fd: number, buffer: Uint8Array, subject: string): number {
  const result = c.getdents64(fd, buffer, buffer.length);
  if (result < 0) throw failed("getdents64", subject);
  return result;
}

export function mkdir(path: string, mode: number): void {
  checked(c.mkdir(terminated(path), mode), "mkdir", path);
}

export function rename(from: string, to: string): void {
  checked(c.rename(terminated(from), terminated(to)), "rename", to);
}

/** Another name for a file; fails when there is one of that name. */
export function link(path: string, name: string): void {
  checked(c.link(terminated(path), terminated(name)), "link", name);
}

export function unlink(path: string): void {
  checked(c.unlink(terminated(path)), "unlink", path);
}

/**
 * statx(2) for the inode's number, the same for two paths of one file only.
 *
 * struct statx, 256 bytes:   32 u64 inode   136 u32 device, major   140 u32 device, minor
 */
export function identityOf(path: string): string {
  const bytes = new Uint8Array(256);
  checked(c.statx(AT_FDCWD, terminated(path), 0, STATX_INO, bytes), "statx", path);
  const view = new DataView(bytes.buffer);
  return `${view.getUint32(136, true)}:${view.getUint32(140, true)}:${view.getBigUint64(32, true)}`;
}

function terminated(path: string): Uint8Array {
  return new TextEncoder().encode(`${path}\0`);
}

export function close(fd: number): void {
  c.close(fd);
}

/** Moves the calling thread, and no other, into the namespace that `fd` is an open file of. */
export function setns(fd: number, kind: number, subject: string): void {
  if (c.setns(fd, kind) < 0) throw failed("setns", subject);
}

/** Takes the lock (LOCK_*) of an open file, waiting for it: this blocks the thread. Closing the file gives it back. */
export function flock(fd: number, operation: number, subject: string): void {
  let result: number;
  do result = c.flock(fd, operation);
  while (result < 0 && errno() === EINTR);
  checked(result, "flock", subject);
}

/** For calls that are made once or twice. A function that is called some thirty times is compiled, for which the runtime starts a thread: see `failed`. */
function checked(result: number, call: string, subject: string): number {
  if (result < 0) throw failed(call, subject);
  return result;
}

/** To be thrown when `result < 0`: what a CNI plugin calls dozens of times in its few milliseconds does without `checked`. */
function failed(call: string, subject: string): SysError {
  return new SysError(call, errno(), subject);
}

/** The calling thread's errno: valid directly after a call that failed. */
function errno(): number {
  return read.i32(c.__errno_location() as Pointer);
}

/** A moment by the clock on this machine's wall; `month` from 1. */
export interface LocalTime {
  readonly month: number;
  readonly day: number;
  readonly hours: number;
  readonly minutes: number;
  readonly seconds: number;
}

/**
 * localtime(3). Date would load the runtime's own time zone data for it: 3 MiB and some milliseconds of every start.
 *
 * struct tm: i32 each of 0 seconds, 4 minutes, 8 hours, 12 day, 16 month from 0; 56 bytes in all.
 */
export function localTime(secondsSinceEpoch: number): LocalTime {
  const time = new BigInt64Array([BigInt(secondsSinceEpoch)]);
  const broken = new Int32Array(14);
  c.localtime_r(time, broken);
  const [seconds = 0, minutes = 0, hours = 0, day = 0, month = 0] = broken;
  return { month: month + 1, day, hours, minutes, seconds };
}
