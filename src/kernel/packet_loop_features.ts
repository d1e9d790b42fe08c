// What a packet loop makes use of, and what is missing here, in one line: each step of a fallback by the name that the kernel's headers, or manual pages, have for the
// feature, with the Linux that brought it. A sandbox (seccomp(2), a user namespace) can refuse what the kernel has.

import type { LoopOptions } from "../packet_loop/options.ts";
import type { DatagramSocket } from "../sys/datagram.ts";
import type { TunDevice, TunOffload } from "../sys/tun.ts";

export type Checksums = NonNullable<LoopOptions["checksums"]>;

export interface LoopFeatures {
  readonly tun: Omit<TunDevice, "fd">;
  readonly socket: Omit<DatagramSocket, "fd">;
  /** Whether there is a socket for ICMP errors. */
  readonly sendsErrors: boolean;
  readonly checksums: Checksums;
}

export function featureText(features: LoopFeatures): string {
  const missing = missingFeatures(features);
  return `${used(features)}; ${missing.length === 0 ? "nothing is missing" : `missing: ${missing.join(", ")}`}`;
}

const GIVES: Readonly<Record<TunOffload, string>> = {
  "tcp and udp": "the device gives TCP and UDP in large packets",
  tcp: "the device gives TCP in large packets",
  checksums: "the device gives packets one by one, without checksums",
  none: "the device gives packets one by one",
};

function used({ tun, socket, sendsErrors, checksums }: LoopFeatures): string {
  const sends = `datagrams are sent ${socket.segments ? "many in one" : "one by one"}`;
  const receives = `received ${socket.receivesSegments ? "many in one" : "one by one"}`;
  const errors = sendsErrors ? "" : "; no ICMP errors are sent";
  const sums = checksums === "simd" ? "checksums by SIMD" : "checksums without SIMD";
  return `${GIVES[tun.offload]}; ${sends}, ${receives}; ${sums}; the socket holds ${socket.receiveBytes >> 10} KiB${errors}`;
}

const LACKS: Readonly<Record<TunOffload, readonly string[]>> = {
  "tcp and udp": [],
  tcp: ["TUN_F_USO4 (Linux 6.2)"],
  checksums: ["TUN_F_TSO4 (Linux 2.6.27)", "TUN_F_USO4 (Linux 6.2)"],
  none: ["TUNSETOFFLOAD (Linux 2.6.27)"],
};

/** Empty on a kernel that has all. */
export function missingFeatures({ tun, socket, sendsErrors, checksums }: LoopFeatures): readonly string[] {
  const lacks = tun.header ? LACKS[tun.offload] : ["virtio headers of 10 bytes (IFF_VNET_HDR, Linux 2.6.27)"];
  const features = [
    [socket.segments, "UDP_SEGMENT (Linux 4.18)"],
    [socket.receivesSegments, "UDP_GRO (Linux 5.0)"],
    [socket.sendsMany, "sendmmsg (Linux 3.0)"],
    [socket.receivesMany, "recvmmsg (Linux 2.6.33)"],
    [socket.holdsAll, "SO_RCVBUFFORCE and SO_SNDBUFFORCE (CAP_NET_ADMIN)"],
    [checksums === "simd", "SIMD of WebAssembly"],
    [sendsErrors, "a raw socket (CAP_NET_RAW)"],
  ] as const;
  return [...lacks, ...features.filter(([has]) => !has).map(([, name]) => name)];
}
