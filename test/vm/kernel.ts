// A Linux kernel for guests, with modules that the machine's own kernel may lack: Debian's for clouds, which knows virtio and boots in seconds. Its package
// is unpacked, not installed, into a cache directory named after the package's version; depmod's work is done there, since packages come without it.
//
// VM_KERNEL names a directory laid out like that instead (boot/vmlinuz-RELEASE, lib/modules/RELEASE with modules.dep), for machines without apt.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const PACKAGE = "linux-image-cloud-amd64";
export const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "flannel-ts-vm");

export interface Kernel {
  /** "6.1.0-56-cloud-amd64", as uname(1) tells in the guest. */
  readonly release: string;
  readonly image: string;
  /** lib/modules/RELEASE. */
  readonly modules: string;
}

export function openKernel(): Kernel {
  return kernelIn(process.env.VM_KERNEL ?? unpacked());
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
function unpacked(): string {
  if (process.arch !== "x64" || !Bun.which("apt-get")) {
    throw new Error(
      `cannot get ${PACKAGE}: it takes an x86-64 machine with apt-get; or name an unpacked kernel by VM_KERNEL`,
    );
  }
  if (Bun.spawnSync(["apt-cache", "show", PACKAGE]).exitCode !== 0) command(["apt-get", "update"]);
  const name = /^Depends: (linux-image-\S+)/m.exec(command(["apt-cache", "show", "--no-all-versions", PACKAGE]))?.[1];
  const shown = name && command(["apt-cache", "show", "--no-all-versions", name]);
  const version = /^Version: (\S+)/m.exec(shown ?? "")?.[1];
  if (!name || !version) throw new Error(`cannot tell the version of ${PACKAGE}: apt-cache says "${shown}"`);
  const directory = join(CACHE, `${name}_${version}`);
  if (!existsSync(directory)) unpack(name, directory);
  return directory;
}

/** Under another name first: an interrupted one must not look whole. */
function unpack(name: string, directory: string): void {
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, "new-"));
  try {
    command(["apt-get", "-o", "APT::Sandbox::User=root", "download", name], work);
    const [archive = ""] = readdirSync(work);
    const root = join(work, "root");
    command(["dpkg-deb", "-x", join(work, archive), root]);
    for (const release of readdirSync(join(root, "lib/modules"))) command(["busybox", "depmod", "-b", root, release]);
    renameSync(root, directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

export function command(words: readonly string[], cwd?: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...words], cwd === undefined ? {} : { cwd });
  if (exitCode !== 0) throw new Error(`${words.join(" ")}: exit ${exitCode}: ${stderr}`);
  return stdout.toString();
}
