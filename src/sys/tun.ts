// TUN devices (linux/if_tun.h, Documentation/networking/tuntap.rst): a link whose packets a program reads and writes through /dev/net/tun. Numbers and layouts
// are those of x86-64 and arm64 alike, which share asm-generic/ioctl.h.

import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import { ENODEV, isRefusal, SysError } from "./error.ts";
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
const TUNGETFEATURES = 0x8004_54cf;
const TUNSETOFFLOAD = 0x4004_54d0;
const TUNGETIFF = 0x8004_54d2;
const TUNGETVNETHDRSZ = 0x8004_54d7;
const TUNSETVNETHDRSZ = 0x4004_54d8;

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

/** Of a struct virtio_net_hdr, which a device has unless it was told otherwise. */
const VNET_HEADER_BYTES = 10;

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;

/** struct ifreq: 0 name, 16 bytes with its NUL   16 u16 flags; 40 bytes in all. */
const IFREQ_BYTES = 40;
const IFR_FLAGS = 16;
const NAME_BYTES = 15;

/** What a TUN device gives in one piece: all checksums and nothing else, or also TCP, or also UDP of many segments. */
export type TunOffload = "none" | "checksums" | "tcp" | "tcp and udp";

export interface TunDevice {
  readonly fd: number;
  /** Whether a virtio header stands before each packet, read or written; without, the device neither gives nor takes anything but whole packets. */
  readonly header: boolean;
  readonly offload: TunOffload;
}

/** Makes a TUN device that stays when nobody has it open. Throws SysError; EBUSY when another program has one of this name open. */
export function makeTun(name: string): void {
  const fd = openClone();
  try {
    attach(fd, name, IFF_TUN | IFF_NO_PI);
    request(fd, "TUNSETPERSIST", TUNSETPERSIST, 1, name);
  } finally {
    close(fd);
  }
}

/**
 * Opens an existing persistent TUN device, for packets with a virtio header where there are such; reading does not wait. Throws SysError: ENODEV when there is none
 * of this name, EBUSY when another program has it open.
 */
export function openTun(name: string): TunDevice {
  return openWith(name, true) ?? openWith(name, false) ?? fail("open", ENODEV, name);
}

/** Undefined when the kernel cannot do it with a header. */
function openWith(name: string, header: boolean): TunDevice | undefined {
  const fd = openClone();
  let opened: TunDevice | undefined;
  try {
    if (header && !hasHeaders(fd, name)) return undefined;
    attach(fd, name, IFF_TUN | IFF_NO_PI | (header ? IFF_VNET_HDR : 0));
    // Attaching makes a device where there is none; such a one goes with the file.
    const interfaceRequest = new Uint8Array(IFREQ_BYTES);
    requestAt(fd, "TUNGETIFF", TUNGETIFF, interfaceRequest, name);
    if ((new DataView(interfaceRequest.buffer).getUint16(IFR_FLAGS, true) & IFF_PERSIST) === 0)
      fail("open", ENODEV, name);
    if (header && !hasOurHeader(fd, name)) return undefined;
    // A device without a header keeps what it was told when it had one: that is taken back.
    opened = { fd, header, offload: setOffload(fd, name, header ? OFFLOADS : []) };
    return opened;
  } finally {
    if (!opened) close(fd);
  }
}

/** Whether this kernel's devices have virtio headers. */
function hasHeaders(fd: number, name: string): boolean {
  const features = new Uint32Array(1);
  const told = granted(() => requestAt(fd, "TUNGETFEATURES", TUNGETFEATURES, features, name));
  return told && ((features[0] ?? 0) & IFF_VNET_HDR) !== 0;
}

/** Whether the device's header is as long as ours: it keeps what an earlier program told it. A kernel that cannot be told has no other. */
function hasOurHeader(fd: number, name: string): boolean {
  const bytes = new Int32Array([VNET_HEADER_BYTES]);
  if (granted(() => requestAt(fd, "TUNSETVNETHDRSZ", TUNSETVNETHDRSZ, bytes, name))) return true;
  const told = granted(() => requestAt(fd, "TUNGETVNETHDRSZ", TUNGETVNETHDRSZ, bytes, name));
  return !told || bytes[0] === VNET_HEADER_BYTES;
}

/** From the most that a kernel can to the least. */
const OFFLOADS = [
  ["tcp and udp", TUN_F_CSUM | TUN_F_TSO4 | TUN_F_USO4 | TUN_F_USO6],
  ["tcp", TUN_F_CSUM | TUN_F_TSO4],
  ["checksums", TUN_F_CSUM],
] as const;

function setOffload(fd: number, name: string, steps: readonly (typeof OFFLOADS)[number][]): TunOffload {
  for (const [offload, flags] of steps) {
    if (granted(() => request(fd, "TUNSETOFFLOAD", TUNSETOFFLOAD, flags, name))) return offload;
  }
  // Where even this is refused there is nothing to take back.
  granted(() => request(fd, "TUNSETOFFLOAD", TUNSETOFFLOAD, 0, name));
  return "none";
}

function granted(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

function openClone(): number {
  return open("/dev/net/tun", O_RDWR | O_NONBLOCK);
}

function attach(fd: number, name: string, flags: number): void {
  if (name.length > NAME_BYTES) throw new RangeError(`A link's name has at most ${NAME_BYTES} bytes: ${name}`);
  const interfaceRequest = new Uint8Array(IFREQ_BYTES);
  new TextEncoder().encodeInto(name, interfaceRequest);
  new DataView(interfaceRequest.buffer).setUint16(IFR_FLAGS, flags, true);
  requestAt(fd, "TUNSETIFF", TUNSETIFF, interfaceRequest, name);
}

function request(fd: number, call: string, code: number, value: number, name: string): void {
  if (libc().ioctlByValue(fd, code, value) < 0) fail(`ioctl ${call}`, errno(), name);
}

/** One whose argument is an address. */
function requestAt(
  fd: number,
  call: string,
  code: number,
  bytes: Uint8Array | Uint32Array | Int32Array,
  name: string,
): void {
  if (libc().ioctl(fd, code, bytes) < 0) fail(`ioctl ${call}`, errno(), name);
}

function fail(call: string, number: number, name: string): never {
  throw new SysError(call, number, name);
}

function errno(): number {
  return read.i32(libc().errno() as Pointer);
}
