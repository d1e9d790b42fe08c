// A UDP socket for very many datagrams (udp(7), socket(7), linux/udp.h), and the eventfd(2) that wakes the thread which waits for it. Numbers are those of x86-64
// and arm64 alike.

import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import { EPERM, isRefusal, SysError } from "./error.ts";
import {
  bind,
  close,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_RAW,
  SOL_SOCKET,
  setsockopt,
  socket,
} from "./libc.ts";
import { receiveDatagrams, sendDatagrams } from "./packet_calls.ts";

const { i32, u32, u64, ptr } = FFIType;

const { symbols: c } = dlopen("libc.so.6", {
  __errno_location: { args: [], returns: ptr },
  eventfd: { args: [u32, i32], returns: i32 },
  getsockopt: { args: [i32, i32, i32, ptr, ptr], returns: i32 },
  write: { args: [i32, ptr, u64], returns: i32 },
});

const AF_INET = 2;
const IPPROTO_RAW = 255;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;
const SOL_UDP = 17;
/** Linux 4.18. */
export const UDP_SEGMENT = 103;
/** Linux 5.0. */
export const UDP_GRO = 104;

const EFD_SEMAPHORE = 1;
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

export interface DatagramSocket {
  readonly fd: number;
  /** Whether one call sends many datagrams of one size, and one datagram received can be many. */
  readonly segments: boolean;
  readonly receivesSegments: boolean;
  /** Whether one call sends many messages (sendmmsg, Linux 3.0), and receives many (recvmmsg, Linux 2.6.33). */
  readonly sendsMany: boolean;
  readonly receivesMany: boolean;
  /** Bytes of data that its buffers hold, as the kernel granted them. */
  readonly receiveBytes: number;
  readonly sendBytes: number;
  /** Whether that is as much as was asked for. */
  readonly holdsAll: boolean;
}

/** `address`: four bytes. Throws SysError: EADDRINUSE, EADDRNOTAVAIL. */
export function openDatagramSocket(
  address: Uint8Array,
  port: number,
  bufferBytes: number,
  subject: string,
): DatagramSocket {
  const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0, subject);
  try {
    bind(fd, socketAddress(address, port), subject);
    enlarge(fd, SO_RCVBUFFORCE, SO_RCVBUF, bufferBytes, subject);
    enlarge(fd, SO_SNDBUFFORCE, SO_SNDBUF, bufferBytes, subject);
    // The kernel doubles what is asked for, for its own bookkeeping, and tells the double.
    const receiveBytes = bufferBytesOf(fd, SO_RCVBUF, subject) / 2;
    const sendBytes = bufferBytesOf(fd, SO_SNDBUF, subject) / 2;
    return {
      fd,
      segments: has(fd, UDP_SEGMENT, 0, subject),
      receivesSegments: has(fd, UDP_GRO, 1, subject),
      // Of no message at all, each does nothing where there is such a call.
      sendsMany: sendDatagrams(fd, 0, 0) === 0,
      receivesMany: receiveDatagrams(fd, 0, 0) === 0,
      receiveBytes,
      sendBytes,
      holdsAll: Math.min(receiveBytes, sendBytes) >= bufferBytes,
    };
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Beyond net.core.rmem_max where that is allowed, else as much as is. */
function enlarge(fd: number, force: number, plain: number, bytes: number, subject: string): void {
  try {
    setsockopt(fd, SOL_SOCKET, force, bytes, subject);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    setsockopt(fd, SOL_SOCKET, plain, bytes, subject);
  }
}

function bufferBytesOf(fd: number, option: number, subject: string): number {
  const bytes = new Int32Array(1);
  const length = new Uint32Array([bytes.byteLength]);
  if (c.getsockopt(fd, SOL_SOCKET, option, bytes, length) < 0) throw failed("getsockopt", subject);
  return bytes[0] ?? 0;
}

function has(fd: number, option: number, value: number, subject: string): boolean {
  try {
    setsockopt(fd, SOL_UDP, option, value, subject);
    return true;
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

/** struct sockaddr_in: 0 u16 family   2 u16 port, in network order   4 four bytes of address   8 zeroes; 16 bytes in all. */
function socketAddress(address: Uint8Array, port: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  bytes.set(address, 4);
  return bytes;
}

/** A raw socket (raw(7)) that sends whole IPv4 packets and receives none; undefined without the capability for it (CAP_NET_RAW). */
export function openPacketSender(subject: string): number | undefined {
  try {
    return socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW, subject);
  } catch (error) {
    if (error instanceof SysError && error.errno === EPERM) return undefined;
    throw error;
  }
}

/** A file to wait for: readable as often as it was rung. */
export function openBell(): number {
  const fd = c.eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw failed("eventfd", "for the packet loop");
  return fd;
}

function failed(call: string, subject: string): SysError {
  return new SysError(call, read.i32(c.__errno_location() as Pointer), subject);
}

/** Once. */
export function ring(fd: number): void {
  const one = new BigUint64Array([1n]);
  c.write(fd, one, one.byteLength);
}
