// Where a guest's programs come from. One of this machine's architecture gets the machine's own, with the libraries that ldd(1) names; one of another gets
// Debian's packages, and the libraries that the programs name themselves.

import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { Apt } from "./apt.ts";
import { readElf } from "./elf.ts";
import { type Architecture, MACHINES, NATIVE } from "./machine.ts";

const PACKAGES = [
  "busybox-static",
  "coreutils",
  "dash",
  "ethtool",
  "iproute2",
  "iputils-ping",
  "nftables",
  "procps",
  "tcpdump",
  "util-linux",
  "wireguard-tools",
];
const PROGRAM_DIRECTORIES = ["bin", "sbin", "usr/bin", "usr/sbin"];

export interface Userland {
  /** By name or path; the path of its file here. */
  find(program: string): string;
  /** Path in the guest → path here, of all that the program at this path here needs. */
  libraries(source: string): ReadonlyMap<string, string>;
}

export function openUserland(architecture: Architecture): Userland {
  return architecture === NATIVE ? OWN : packaged(architecture);
}

const OWN: Userland = {
  find(program) {
    const path = program.includes("/") ? program : Bun.which(program);
    if (!path) throw new Error(`cannot find the program ${program} in PATH`);
    return realpathSync(path);
  },
  /** Absolute paths as the loader asks for them; none of a static program. */
  libraries(source) {
    const text = Bun.spawnSync(["ldd", source]).stdout.toString();
    return new Map([...text.matchAll(/(?:=> |^\s)(\/\S+) \(0x/gm)].map(([, path = ""]) => [path, path]));
  },
};

function packaged(architecture: Architecture): Userland {
  const root = new Apt(architecture).unpacked(PACKAGES);
  const { triplet } = MACHINES[architecture];
  const inRoot = (paths: readonly string[], what: string) => {
    const path = paths.map((each) => join(root, each)).find((each) => existsSync(each));
    if (path === undefined) throw new Error(`cannot find ${what} among Debian's packages of ${architecture}`);
    return path;
  };
  const libraries = (source: string, found = new Map<string, string>()): ReadonlyMap<string, string> => {
    const elf = readElf(source);
    if (elf && elf.machine !== architecture) throw new Error(`${source} is of ${elf.machine}, want ${architecture}`);
    const { interpreter, needed = [] } = elf ?? {};
    if (interpreter)
      found.set(interpreter, inRoot([interpreter, `lib/${triplet}/${interpreter.split("/").at(-1)}`], interpreter));
    for (const name of needed) {
      // The loader looks there first.
      const path = `/lib/${triplet}/${name}`;
      if (found.has(path) || `/lib/${name}` === interpreter) continue;
      const library = inRoot([path, `usr${path}`, `lib/${name}`], name);
      found.set(path, library);
      libraries(library, found);
    }
    return found;
  };
  return {
    find(program) {
      if (program.includes("/")) return realpathSync(program);
      return inRoot(
        PROGRAM_DIRECTORIES.map((directory) => join(directory, program)),
        program,
      );
    },
    libraries: (source) => libraries(source),
  };
}
