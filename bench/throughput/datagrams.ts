// UDP sockets of the load programs: many datagrams in one system call (sendmmsg(2), recvmmsg(2)), so that the load costs little beside what it measures, and
// one poll over all sockets. It binds to the C library itself: in src/sys these symbols would cost every start of flanneld time that nothing there gives back.
//
// struct mmsghdr, 64 bytes:   0 pointer name   8 u32 its length   16 pointer iovec   24 u64 number of them   32 pointer control   40 u64 its length
//                            48 int flags   56 u32 bytes sent or received
// struct iovec, 16 bytes:     0 pointer   8 u64 length
// struct sockaddr_in, 16:     0 u16 family   2 u16 port (big endian)   4 u8[4] address
// struct pollfd, 8 bytes:     0 int fd   4 short events   6 short revents

import { dlopen, FFIType, ptr } from "bun:ffi";
import { bind, POLLIN, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET, setsockopt, socket } from "../../src/sys/libc.ts";

const { i32, u32, u64, ptr: pointer } = FFIType;
const { symbols: c } = dlopen("libc.so.6", {
  sendmmsg: { args: [i32, pointer, u32, i32], returns: i32 },
  recvmmsg: { args: [i32, pointer, u32, i32, pointer], returns: i32 },
  poll: { args: [pointer, u64, i32], returns: i32 },
});

const AF_INET = 2;
const MSG_DONTWAIT = 0x40;
/** asm-generic/socket.h; beyond net.core.rmem_max. */
const SO_RCVBUFFORCE = 33;
/** So that what is lost is lost on the way, and not before a receiver that waits for a processor. */
const RECEIVE_BUFFER_BYTES = 8 << 20;

const HEADER_BYTES = 64;
const IOVEC_BYTES = 16;
const NAME_BYTES = 16;

export interface Place {
  readonly address: string;
  readonly port: number;
}

/** A socket on a port; 0 for any. */
export function openSocket(port: number): number {
  const fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0, "udp");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES, "udp");
  bind(fd, socketAddress({ address: "0.0.0.0", port }), `port ${port}`);
  return fd;
}

export function socketAddress({ address, port }: Place): Uint8Array {
  const bytes = new Uint8Array(NAME_BYTES);
  bytes.set([AF_INET, 0, port >> 8, port & 0xff, ...address.split(".").map(Number)]);
  return bytes;
}

/** Room for so many datagrams, each with an address; sent and received as one. */
export class Batch {
  readonly #count: number;
  readonly #headers: DataView;
  readonly #headerBytes: Uint8Array;
  readonly #names: Uint8Array;
  readonly #iovecs: DataView;
  /** Held, because the headers only tell where it is. */
  readonly #room: Uint8Array;

  constructor(count: number, bytesEach: number) {
    this.#count = count;
    this.#headers = new DataView(new ArrayBuffer(count * HEADER_BYTES));
    this.#headerBytes = new Uint8Array(this.#headers.buffer);
    this.#names = new Uint8Array(new ArrayBuffer(count * NAME_BYTES));
    this.#iovecs = new DataView(new ArrayBuffer(count * IOVEC_BYTES));
    this.#room = new Uint8Array(new ArrayBuffer(count * bytesEach));
    const [names, iovecs, room] = [this.#names, new Uint8Array(this.#iovecs.buffer), this.#room].map((bytes) =>
      BigInt(ptr(bytes)),
    ) as [bigint, bigint, bigint];
    for (let i = 0; i < count; i++) {
      const at = i * HEADER_BYTES;
      this.#headers.setBigUint64(at, names + BigInt(i * NAME_BYTES), true);
      this.#headers.setUint32(at + 8, NAME_BYTES, true);
      this.#headers.setBigUint64(at + 16, iovecs + BigInt(i * IOVEC_BYTES), true);
      this.#headers.setBigUint64(at + 24, 1n, true);
      this.#iovecs.setBigUint64(i * IOVEC_BYTES, room + BigInt(i * bytesEach), true);
      this.#iovecs.setBigUint64(i * IOVEC_BYTES + 8, BigInt(bytesEach), true);
    }
  }

  /** What datagram `i` is when it is sent. */
  put(i: number, to: Uint8Array, bytes: number): void {
    this.#names.set(to, i * NAME_BYTES);
    this.#iovecs.setBigUint64(i * IOVEC_BYTES + 8, BigInt(bytes), true);
  }

  /** Sends the first `count`; how many the kernel took. */
  send(fd: number, count = this.#count): number {
    return c.sendmmsg(fd, this.#headerBytes, count, 0);
  }

  /** Receives what there is; 0 when there is nothing. */
  receive(fd: number): number {
    return Math.max(0, c.recvmmsg(fd, this.#headerBytes, this.#count, MSG_DONTWAIT, null));
  }
}

/** Waits for any of the sockets. */
export class Poll {
  readonly #fds: readonly number[];
  readonly #entries: DataView;
  readonly #bytes: Uint8Array;

  constructor(fds: readonly number[]) {
    this.#fds = fds;
    this.#entries = new DataView(new ArrayBuffer(fds.length * 8));
    this.#bytes = new Uint8Array(this.#entries.buffer);
    for (const [i, fd] of fds.entries()) {
      this.#entries.setInt32(i * 8, fd, true);
      this.#entries.setInt16(i * 8 + 4, POLLIN, true);
    }
  }

  /** How many are ready; 0 when the time is over. */
  wait(timeoutMs: number): number {
    return Math.max(0, c.poll(this.#bytes, this.#fds.length, timeoutMs));
  }

  isReady(i: number): boolean {
    return this.#entries.getInt16(i * 8 + 6, true) !== 0;
  }
}
