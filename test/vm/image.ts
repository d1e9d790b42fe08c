// What a guest starts from: an initramfs with busybox, programs (userland.ts) with their libraries, kernel modules, and an init that runs one script. Of the
// serial ports, the first is the kernel's console, the second has what the script says, the third takes what it leaves in /out.

import { resolve } from "node:path";
import { type Entry, writeArchive } from "./archive.ts";
import { type Kernel, moduleFiles } from "./kernel.ts";
import { type Architecture, MACHINES, type Machine, NATIVE } from "./machine.ts";
import { openUserland } from "./userland.ts";

export interface Image {
  /** This machine's, unless it is said. */
  readonly architecture?: Architecture;
  /** Run by dash, which stops at the first command that fails. (busybox's shell would take its own ip and ping before any other.) */
  readonly script: string;
  /** By name in PATH or by path; in the guest they are in PATH by their file's name. */
  readonly programs?: readonly string[];
  /** Loaded before the script runs, in this order, with what they need. */
  readonly modules?: readonly string[];
  /** Path in the guest → path here. */
  readonly files?: Readonly<Record<string, string>>;
}

/** The line that ends what the script says. */
export const STATUS = /^exit status (\d+)$/m;

const init = ({ said, out }: Machine["devices"], modules: readonly string[]) => `#!/bin/busybox sh
export PATH=/programs:/bin HOME=/
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /out
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
stty -F /dev/${said} raw -echo
stty -F /dev/${out} raw -echo
ip link set lo up
{
  modprobe -a ${modules.join(" ")} && dash -eu /script
  echo "exit status $?"
} < /dev/null > /dev/${said} 2>&1
tar -cf /dev/${out} -C /out .
sync
poweroff -f
`;

/** Writes the initramfs to `path`. */
export function writeImage(path: string, kernel: Kernel, image: Image): void {
  const { architecture = NATIVE, script, programs = [], modules = [], files = {} } = image;
  const userland = openUserland(architecture);
  const entries = new Map<string, Entry>([
    ["/init", { kind: "text", text: init(MACHINES[architecture].devices, modules), executable: true }],
    ["/etc/hosts", { kind: "text", text: "127.0.0.1 localhost\n" }],
    ["/etc/passwd", { kind: "text", text: "root:x:0:0:root:/:/bin/sh\n" }],
    ["/etc/group", { kind: "text", text: "root:x:0:\n" }],
    ["/var/run", { kind: "symlink", target: "/run" }],
    ["/script", { kind: "text", text: script }],
  ]);
  const moduleDirectory = `/lib/modules/${kernel.release}`;
  for (const file of ["modules.dep", "modules.builtin", ...moduleFiles(kernel, modules)]) {
    entries.set(`${moduleDirectory}/${file}`, { kind: "copy", source: `${kernel.modules}/${file}` });
  }
  const add = (directory: string, program: string) => {
    const source = userland.find(program);
    entries.set(`${directory}/${program.split("/").at(-1)}`, { kind: "copy", source, executable: true });
    for (const [to, library] of userland.libraries(source)) {
      entries.set(to, { kind: "copy", source: library, executable: true });
    }
  };
  add("/bin", "busybox");
  for (const program of ["dash", ...programs]) add("/programs", program);
  for (const [to, source] of Object.entries(files)) entries.set(to, { kind: "copy", source: resolve(source) });
  writeArchive(path, entries);
}
