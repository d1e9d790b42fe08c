// The calls that move packets, as bare as they can be: offsets have become addresses, nothing is allocated, and what failed comes back as a negative errno. Layouts
// are those of 64-bit Linux, equal on x86-64 and arm64:
//
//   struct mmsghdr, 64 bytes:   0 u64 name   8 u32 name length   16 u64 iovec   24 u64 number of iovecs   32 u64 control   40 u64 control length
//                               48 i32 flags   56 u32 length of the message
//   struct iovec, 16 bytes:     0 u64 address   8 u64 length
//   struct cmsghdr, 16 bytes:   0 u64 length with this header   8 i32 level   12 i32 type; then the data, padded to 8 bytes
//   struct pollfd, 8 bytes:     0 i32 file   4 i16 events   6 i16 what happened

import { dlopen, FFIType, type Pointer, ptr as pointerTo, read as readAt } from "bun:ffi";

const { i32, u32, u64, ptr } = FFIType;

const { symbols: c } = dlopen("libc.so.6", {
  __errno_location: { args: [], returns: ptr },
  read: { args: [i32, ptr, u64], returns: i32 },
  writev: { args: [i32, ptr, i32], returns: i32 },
  recvmsg: { args: [i32, ptr, i32], returns: i32 },
  sendmsg: { args: [i32, ptr, i32], returns: i32 },
  recvmmsg: { args: [i32, ptr, u32, i32, ptr], returns: i32 },
  sendmmsg: { args: [i32, ptr, u32, i32], returns: i32 },
  poll: { args: [ptr, u64, i32], returns: i32 },
  sched_yield: { args: [], returns: i32 },
});

const MSG_DONTWAIT = 0x40;

/** Where in this process a view begins. The memory must not move, and somebody must hold it. */
export function addressOf(view: Uint8Array): number {
  return pointerTo(view);
}

function outcome(result: number): number {
  return result < 0 ? -readAt.i32(c.__errno_location() as Pointer) : result;
}

/** Bytes read. */
export function readPacket(fd: number, address: number, length: number): number {
  return outcome(c.read(fd, address as Pointer, length));
}

/** Bytes written from `count` struct iovec. */
export function writePacket(fd: number, iovecs: number, count: number): number {
  return outcome(c.writev(fd, iovecs as Pointer, count));
}

/** Datagrams received into `count` struct mmsghdr, of those that have arrived. */
export function receiveDatagrams(fd: number, messages: number, count: number): number {
  return outcome(c.recvmmsg(fd, messages as Pointer, count, MSG_DONTWAIT, null));
}

/** Messages sent of `count` struct mmsghdr; EAGAIN when there is no room in the socket's buffer. */
export function sendDatagrams(fd: number, messages: number, count: number): number {
  return outcome(c.sendmmsg(fd, messages as Pointer, count, MSG_DONTWAIT));
}

/** Bytes of one datagram received into the struct msghdr that a struct mmsghdr begins with; its length is not written. */
export function receiveDatagram(fd: number, message: number): number {
  return outcome(c.recvmsg(fd, message as Pointer, MSG_DONTWAIT));
}

/** One message sent: 1; EAGAIN when there is no room in the socket's buffer. */
export function sendDatagram(fd: number, message: number): number {
  const sent = outcome(c.sendmsg(fd, message as Pointer, MSG_DONTWAIT));
  return sent < 0 ? sent : 1;
}

/** How many of `count` struct pollfd have something; waits for as long as it takes when `timeoutMs` is -1. */
export function pollFiles(files: number, count: number, timeoutMs: number): number {
  return outcome(c.poll(files as Pointer, count, timeoutMs));
}

/** Lets another thread have the processor, if one waits for it. */
export function yieldProcessor(): void {
  c.sched_yield();
}
