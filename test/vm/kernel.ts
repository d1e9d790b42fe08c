// A Linux kernel for guests, with modules that the machine's own kernel may lack: Debian's for clouds, which knows virtio and boots in seconds. Its package
// is unpacked, not installed, into a cache directory named after the package's version; depmod's work is done there, since packages come without it.
//
// VM_KERNEL (VM_KERNEL_ARM64) names a directory laid out like that instead (boot/vmlinuz-RELEASE, lib/modules/RELEASE with modules.dep), for machines without apt.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Apt, archivesIn, makeDirectory } from "./apt.ts";
import { CACHE, command } from "./cache.ts";
import { type Architecture, MACHINES, NATIVE } from "./machine.ts";

export interface Kernel {
  /** "6.1.0-56-cloud-amd64", as uname(1) tells in the guest. */
  readonly release: string;
  readonly image: string;
  /** lib/modules/RELEASE. */
  readonly modules: string;
}

export function openKernel(architecture: Architecture): Kernel {
  return kernelIn(process.env[MACHINES[architecture].kernelVariable] ?? unpacked(architecture));
}

/** The module files that these modules need, themselves included, below `kernel.modules`; nothing for what is built in. */
export function moduleFiles(kernel: Kernel, names: readonly string[]): readonly string[] {
  const name = (path: string) => (path.split("/").at(-1) ?? "").replace(/\.ko(\.\w+)?$/, "").replaceAll("-", "_");
  const lines = (file: string) => readFileSync(join(kernel.modules, file), "utf8").trim().split("\n");
  const builtIn = new Set(lines("modules.builtin").map(name));
  const known = new Map<string, readonly string[]>();
  for (const line of lines("modules.dep")) {
    const [file = "", ...needs] = line.split(/[: ]+/).filter((word) => word !== "");
    known.set(name(file), [file, ...needs]);
  }
  const files = new Set<string>();
  const add = (module: string) => {
    const found = known.get(name(module));
    if (!found && !builtIn.has(name(module))) throw new Error(`kernel ${kernel.release} has no module ${module}`);
    for (const file of found ?? []) {
      if (files.has(file)) continue;
      files.add(file);
      add(file);
    }
  };
  for (const module of names) add(module);
  return [...files];
}

function kernelIn(root: string): Kernel {
  const modules = join(root, "lib/modules");
  for (const release of existsSync(modules) ? readdirSync(modules) : []) {
    const image = join(root, "boot", `vmlinuz-${release}`);
    if (existsSync(image) && existsSync(join(modules, release, "modules.dep"))) {
      return { release, image, modules: join(modules, release) };
    }
  }
  throw new Error(`cannot find a kernel in ${root}: want boot/vmlinuz-RELEASE and lib/modules/RELEASE/modules.dep`);
}

/** The directory of the unpacked package; downloads it when this version is not there. */
function unpacked(architecture: Architecture): string {
  const { kernelPackage, kernelVariable } = MACHINES[architecture];
  if (!Bun.which("apt-get")) {
    throw new Error(
      `cannot get ${kernelPackage}: it takes a machine with apt-get; or name an unpacked kernel by ${kernelVariable}`,
    );
  }
  const run = aptOf(architecture);
  if (!has(run, kernelPackage)) run(["apt-get", "update"]);
  const found = versionOf(run, kernelPackage);
  if (existsSync(found.directory)) return found.directory;
  if (architecture !== NATIVE) run(["apt-get", "update"]);
  const { name, directory } = versionOf(run, kernelPackage);
  makeDirectory(directory, (work, root) => {
    run(["apt-get", "-oAPT::Sandbox::User=root", "download", name], work);
    for (const archive of archivesIn(work)) command(["dpkg-deb", "-x", join(work, archive), root]);
    for (const release of readdirSync(join(root, "lib/modules"))) command(["busybox", "depmod", "-b", root, release]);
  });
  return directory;
}

type Run = (words: readonly string[], cwd?: string) => string;

/** This machine's own apt where it has what is wanted. */
function aptOf(architecture: Architecture): Run {
  if (architecture === NATIVE) return command;
  const apt = new Apt(architecture);
  return (words, cwd) => apt.run(words, cwd);
}

function has(run: Run, name: string): boolean {
  try {
    return run(["apt-cache", "show", name]) !== "";
  } catch {
    return false;
  }
}

function versionOf(run: Run, kernelPackage: string): { readonly name: string; readonly directory: string } {
  const show = (name: string) => run(["apt-cache", "show", "--no-all-versions", name]);
  const name = /^Depends: (linux-image-\S+)/m.exec(show(kernelPackage))?.[1];
  const shown = name && show(name);
  const version = /^Version: (\S+)/m.exec(shown ?? "")?.[1];
  if (!name || !version) throw new Error(`cannot tell the version of ${kernelPackage}: apt-cache says "${shown}"`);
  return { name, directory: join(CACHE, `${name}_${version}`) };
}
