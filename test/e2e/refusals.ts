// What a kernel that lacks a feature of the udp backend's would refuse, as seccomp filters: a classic BPF program over struct seccomp_data that answers chosen system
// calls with the errno which such a kernel has for them (linux/seccomp.h, linux/filter.h). A filter sees numbers, not what an address points at.
//
// struct seccomp_data:   0 u32 number of the call   4 u32 architecture   8 u64 instruction   16 u64 each of six arguments

import { BPF_JEQ_K, BPF_LD_W_ABS, BPF_RET_K, type FilterInstruction } from "../../src/sys/libc.ts";

/** By architecture: asm/unistd_64.h, asm-generic/unistd.h. */
const CALLS = {
  x64: { ioctl: 16, socket: 41, setsockopt: 54, recvmmsg: 299, sendmmsg: 307 },
  arm64: { ioctl: 29, socket: 198, setsockopt: 208, recvmmsg: 243, sendmmsg: 269 },
};
type Call = keyof (typeof CALLS)["x64"];

interface Refusal {
  readonly call: Call;
  /** Argument → the value that it has, or bits of which it has one. */
  readonly where?: Readonly<Record<number, { readonly is: number } | { readonly hasOf: number }>>;
  readonly errno: number;
}

const EPERM = 1;
const EINVAL = 22;
const ENOSYS = 38;
const ENOPROTOOPT = 92;
const SOL_SOCKET = 1;
const SOL_UDP = 17;

const ioctl = (request: number): Refusal => ({ call: "ioctl", where: { 1: { is: request } }, errno: EINVAL });
const offload = (bits: number): Refusal => ({
  call: "ioctl",
  where: { 1: { is: 0x4004_54d0 }, 2: { hasOf: bits } },
  errno: EINVAL,
});
const option = (level: number, name: number, errno: number): Refusal => ({
  call: "setsockopt",
  where: { 1: { is: level }, 2: { is: name } },
  errno,
});

/** Feature → what a kernel without it refuses. */
export const REFUSALS = {
  TUN_F_USO4: [offload(0x60)],
  TUN_F_TSO4: [offload(0x62)],
  TUNSETOFFLOAD: [ioctl(0x4004_54d0)],
  IFF_VNET_HDR: [ioctl(0x8004_54cf)],
  TUNSETVNETHDRSZ: [ioctl(0x4004_54d8)],
  UDP_SEGMENT: [option(SOL_UDP, 103, ENOPROTOOPT)],
  UDP_GRO: [option(SOL_UDP, 104, ENOPROTOOPT)],
  sendmmsg: [{ call: "sendmmsg", errno: ENOSYS }],
  recvmmsg: [{ call: "recvmmsg", errno: ENOSYS }],
  SO_BUFFORCE: [option(SOL_SOCKET, 32, EPERM), option(SOL_SOCKET, 33, EPERM)],
  // AF_INET, IPPROTO_RAW
  "raw socket": [{ call: "socket", where: { 0: { is: 2 }, 2: { is: 255 } }, errno: EPERM }],
} as const satisfies Readonly<Record<string, readonly Refusal[]>>;
export type Feature = keyof typeof REFUSALS;

const BPF_JSET_K = 0x45;
const SECCOMP_RET_ALLOW = 0x7fff_0000;
const SECCOMP_RET_ERRNO = 0x0005_0000;
const NUMBER = 0;
const ARGUMENTS = 16;

export function filterOf(features: readonly Feature[]): readonly FilterInstruction[] {
  const refusals = features.flatMap((feature): readonly Refusal[] => REFUSALS[feature]);
  return [...refusals.flatMap(instructionsOf), { code: BPF_RET_K, k: SECCOMP_RET_ALLOW }];
}

/** Each test steps over all that is left when it fails. */
function instructionsOf({ call, where = {}, errno }: Refusal): readonly FilterInstruction[] {
  const calls = CALLS[process.arch === "arm64" ? "arm64" : "x64"];
  const tests = [
    { at: NUMBER, code: BPF_JEQ_K, k: calls[call] },
    ...Object.entries(where).map(([argument, wanted]) => ({
      at: ARGUMENTS + 8 * Number(argument),
      code: "is" in wanted ? BPF_JEQ_K : BPF_JSET_K,
      k: "is" in wanted ? wanted.is : wanted.hasOf,
    })),
  ];
  const jumps = tests.flatMap(({ at, code, k }, i) => [
    { code: BPF_LD_W_ABS, k: at },
    { code, jumpFalse: 2 * (tests.length - i - 1) + 1, k },
  ]);
  return [...jumps, { code: BPF_RET_K, k: SECCOMP_RET_ERRNO | errno }];
}

/** A command before a program, whose kernel then lacks these features. */
export function without(features: readonly Feature[]): readonly string[] {
  return features.length === 0 ? [] : [process.execPath, `${import.meta.dir}/refuse.ts`, features.join(",")];
}
