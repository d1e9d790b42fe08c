// The machines that guests can be, by Debian's names of architectures: how QEMU emulates one, and what its serial ports are called in the guest. An amd64 has four
// of them; an arm64 ("virt") has one, so that the others are PCI devices.

export type Architecture = "amd64" | "arm64";

/** Files that QEMU writes: what the kernel says, and what the script leaves. What the script says goes to QEMU's own output. */
export interface Ports {
  readonly console: string;
  readonly out: string;
}

export interface Machine {
  /** Debian's kernel for clouds. */
  readonly kernelPackage: string;
  /** Names a directory with a kernel in its stead. */
  readonly kernelVariable: string;
  /** A directory below lib that libraries are in. */
  readonly triplet: string;
  readonly qemu: readonly string[];
  readonly ports: (ports: Ports) => readonly string[];
  /** In the guest, below /dev. */
  readonly devices: { readonly console: string; readonly said: string; readonly out: string };
}

export const MACHINES: Readonly<Record<Architecture, Machine>> = {
  amd64: {
    kernelPackage: "linux-image-cloud-amd64",
    kernelVariable: "VM_KERNEL",
    triplet: "x86_64-linux-gnu",
    qemu: ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"],
    ports: ({ console, out }) => ["-serial", `file:${console}`, "-serial", "stdio", "-serial", `file:${out}`],
    devices: { console: "ttyS0", said: "ttyS1", out: "ttyS2" },
  },
  arm64: {
    kernelPackage: "linux-image-cloud-arm64",
    kernelVariable: "VM_KERNEL_ARM64",
    triplet: "aarch64-linux-gnu",
    // A processor of servers that there are (Graviton 2, Altra), without SVE: with an emulated SVE ("max") and Linux 6.1 Bun 1.4.5 crashes in its garbage
    // collector.
    qemu: ["qemu-system-aarch64", "-machine", "virt", "-accel", "tcg,thread=multi", "-cpu", "neoverse-n1"],
    ports: ({ console, out }) => [
      ...["-serial", `file:${console}`],
      ...["-chardev", "stdio,id=said,signal=off", "-device", "pci-serial,chardev=said"],
      ...["-chardev", `file,id=out,path=${out}`, "-device", "pci-serial,chardev=out"],
    ],
    devices: { console: "ttyAMA0", said: "ttyS0", out: "ttyS1" },
  },
};

/** This machine's. */
export const NATIVE: Architecture = process.arch === "arm64" ? "arm64" : "amd64";
