import { expect, test } from "bun:test";
import { featureText, type LoopFeatures } from "./packet_loop_features.ts";

const SOCKET = {
  segments: true,
  receivesSegments: true,
  sendsMany: true,
  receivesMany: true,
  receiveBytes: 8 << 20,
  sendBytes: 8 << 20,
  holdsAll: true,
};
const ALL: LoopFeatures = {
  tun: { header: true, offload: "tcp and udp" },
  socket: SOCKET,
  sendsErrors: true,
  checksums: "simd",
};
const SENT = "datagrams are sent many in one, received many in one; checksums by SIMD; the socket holds 8192 KiB";

test.each<[string, Partial<LoopFeatures>, string]>([
  ["all", {}, `the device gives TCP and UDP in large packets; ${SENT}; nothing is missing`],
  [
    "no USO",
    { tun: { header: true, offload: "tcp" } },
    `the device gives TCP in large packets; ${SENT}; missing: TUN_F_USO4 (Linux 6.2)`,
  ],
  [
    "no TSO",
    { tun: { header: true, offload: "checksums" } },
    `the device gives packets one by one, without checksums; ${SENT}; missing: TUN_F_TSO4 (Linux 2.6.27), TUN_F_USO4 (Linux 6.2)`,
  ],
  [
    "no virtio header",
    { tun: { header: false, offload: "none" } },
    `the device gives packets one by one; ${SENT}; missing: virtio headers of 10 bytes (IFF_VNET_HDR, Linux 2.6.27)`,
  ],
  [
    "none",
    {
      tun: { header: true, offload: "none" },
      socket: {
        segments: false,
        receivesSegments: false,
        sendsMany: false,
        receivesMany: false,
        receiveBytes: 212_992,
        sendBytes: 212_992,
        holdsAll: false,
      },
      sendsErrors: false,
      checksums: "plain",
    },
    "the device gives packets one by one; datagrams are sent one by one, received one by one; checksums without SIMD; the socket holds 208 KiB; " +
      "no ICMP errors are sent; missing: TUNSETOFFLOAD (Linux 2.6.27), UDP_SEGMENT (Linux 4.18), UDP_GRO (Linux 5.0), sendmmsg (Linux 3.0), recvmmsg (Linux 2.6.33), " +
      "SO_RCVBUFFORCE and SO_SNDBUFFORCE (CAP_NET_ADMIN), SIMD of WebAssembly, a raw socket (CAP_NET_RAW)",
  ],
])("featureText: %s", (_, features, text) => {
  expect(featureText({ ...ALL, ...features })).toBe(text);
});
