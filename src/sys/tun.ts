// TUN devices (linux/if_tun.h, Documentation/networking/tuntap.rst): a link whose packets a program reads and writes through /dev/net/tun. Numbers and layouts
// are those of x86-64 and arm64 alike, which share asm-generic/ioctl.h.

import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import { EINVAL, ENODEV, SysError } from "./error.ts";
import { close, open } from "./libc.ts";

const { i32, u64, ptr } = FFIType;

function bindings() {
  const { symbols } = dlopen("libc.so.6", {
    __errno_location: { args: [], returns: ptr },
    ioctl: { args: [i32, u64, ptr], returns: i32 },
  });
  // The third argument is a pointer to some requests and a number to others: one symbol each.
  const { symbols: byValue } = dlopen("libc.so.6", { ioctl: { args: [i32, u64, u64], returns: i32 } });
  return { errno: symbols.__errno_location, ioctl: symbols.ioctl, ioctlByValue: byValue.ioctl };
}

let bound: ReturnType<typeof bindings> | undefined;

/** Bound at the first call: flanneld starts without a TUN device more often than with one. */
function libc(): ReturnType<typeof bindings> {
  bound ??= bindings();
  return bound;
}

const TUNSETIFF = 0x4004_54ca;
const TUNSETPERSIST = 0x4004_54cb;
const TUNSETOFFLOAD = 0x4004_54d0;
const TUNGETIFF = 0x8004_54d2;

const IFF_TUN = 0x0001;
const IFF_PERSIST = 0x0800;
/** No four bytes of protocol before each packet. */
const IFF_NO_PI = 0x1000;
/** A struct virtio_net_hdr before each packet. */
const IFF_VNET_HDR = 0x4000;

/** What the kernel may leave undone in packets that it gives us. */
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
/** Linux 6.2; both together or none. */
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;

/** struct ifreq: 0 name, 16 bytes with its NUL   16 u16 flags; 40 bytes in all. */
const IFREQ_BYTES = 40;
const IFR_FLAGS = 16;
const NAME_BYTES = 15;

/** What a TUN device gives in one piece: all checksums and nothing else, or also TCP, or also UDP of many segments. */
export type TunOffload = "none" | "checksums" | "tcp" | "tcp and udp";

/** Makes a TUN device that stays when nobody has it open. Throws SysError; EBUSY when another program has one of this name open. */
export function makeTun(name: string): void {
  const fd = attach(name, IFF_TUN | IFF_NO_PI);
  try {
    request(fd, TUNSETPERSIST, 1, name);
  } finally {
    close(fd);
  }
}

/**
 * Opens an existing persistent TUN device for packets with a virtio header: reading does not wait. Throws SysError: ENODEV when there is none of this name, EBUSY
 * when another program has it open.
 */
export function openTun(name: string): { readonly fd: number; readonly offload: TunOffload } {
  const fd = attach(name, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
  try {
    // Attaching makes a device where there is none; such a one goes with the file.
    const interfaceRequest = new Uint8Array(IFREQ_BYTES);
    if (libc().ioctl(fd, TUNGETIFF, interfaceRequest) < 0) throw new SysError("ioctl TUNGETIFF", errno(), name);
    if ((new DataView(interfaceRequest.buffer).getUint16(IFR_FLAGS, true) & IFF_PERSIST) === 0)
      throw new SysError("open", ENODEV, name);
    return { fd, offload: setOffload(fd, name) };
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** From the most that a kernel can to the least. */
function setOffload(fd: number, name: string): TunOffload {
  const steps = [
    ["tcp and udp", TUN_F_CSUM | TUN_F_TSO4 | TUN_F_USO4 | TUN_F_USO6],
    ["tcp", TUN_F_CSUM | TUN_F_TSO4],
    ["checksums", TUN_F_CSUM],
  ] as const;
  for (const [offload, flags] of steps) {
    if (libc().ioctlByValue(fd, TUNSETOFFLOAD, flags) === 0) return offload;
    const number = errno();
    if (number !== EINVAL) throw new SysError("ioctl TUNSETOFFLOAD", number, name);
  }
  request(fd, TUNSETOFFLOAD, 0, name);
  return "none";
}

function attach(name: string, flags: number): number {
  if (name.length > NAME_BYTES) throw new RangeError(`A link's name has at most ${NAME_BYTES} bytes: ${name}`);
  const fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  const interfaceRequest = new Uint8Array(IFREQ_BYTES);
  new TextEncoder().encodeInto(name, interfaceRequest);
  new DataView(interfaceRequest.buffer).setUint16(IFR_FLAGS, flags, true);
  if (libc().ioctl(fd, TUNSETIFF, interfaceRequest) === 0) return fd;
  const error = new SysError("ioctl TUNSETIFF", errno(), name);
  close(fd);
  throw error;
}

function request(fd: number, code: number, value: number, name: string): void {
  if (libc().ioctlByValue(fd, code, value) < 0) throw new SysError(`ioctl 0x${code.toString(16)}`, errno(), name);
}

function errno(): number {
  return read.i32(libc().errno() as Pointer);
}
