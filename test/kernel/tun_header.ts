// What another program may have done to a TUN device that stays: told it how long the virtio headers before its packets are (TUNSETVNETHDRSZ, linux/if_tun.h).

import { dlopen, FFIType } from "bun:ffi";
import { close, open } from "../../src/sys/libc.ts";
import { inNamespace } from "../../src/sys/netns.ts";

const { symbols: c } = dlopen("libc.so.6", {
  ioctl: { args: [FFIType.i32, FFIType.u64, FFIType.ptr], returns: FFIType.i32 },
});

const O_RDWR = 2;
const TUNSETIFF = 0x4004_54ca;
const TUNSETVNETHDRSZ = 0x4004_54d8;
/** IFF_TUN | IFF_NO_PI | IFF_VNET_HDR */
const FLAGS = 0x5001;

/** The device must exist and nobody have it open. */
export function setHeaderLength(namespace: string, name: string, bytes: number): void {
  inNamespace(namespace, () => {
    const fd = open("/dev/net/tun", O_RDWR);
    // struct ifreq: 0 name   16 u16 flags
    const request = new Uint8Array(40);
    new TextEncoder().encodeInto(name, request);
    new DataView(request.buffer).setUint16(16, FLAGS, true);
    try {
      if (c.ioctl(fd, TUNSETIFF, request) !== 0) throw new Error(`cannot attach to ${name}`);
      if (c.ioctl(fd, TUNSETVNETHDRSZ, new Int32Array([bytes])) !== 0) throw new Error("no such header length");
    } finally {
      close(fd);
    }
  });
}
