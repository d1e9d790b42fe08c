// The executable under the names of plugins: one copy with hard links. A file is ours when it is this executable or an earlier one, which its content tells.

import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { errnoWords } from "../../daemon/atomic_file.ts";
import type { Action } from "./action.ts";

/** Always ours to replace: who installs flannel wants this one. */
const OWN_NAME = "flannel";
/** The plugins it has built in, in place of the reference plugins where a host has none. */
const BUILT_IN_NAMES = ["bridge", "host-local", "portmap", "loopback"] as const;

/** What every version of the executable says of itself (flannel.ts), and no other program does. */
const MARK = "of flannel-ts, a CNI plugin";

/** `path` when it is a built executable; from the source it is the runtime's. */
export function executableOf(path: string): string {
  if (isOurs(path)) return path;
  throw new Error(
    `cannot install ${path} as a plugin: it is not the built executable; call flannelctl from "make build"`,
  );
}

/** Whether there is a file at `path` that this program is, or an earlier version of it. */
export function isOurs(path: string): boolean {
  // Those that are not are a few megabytes; ours is read in some 50 ms.
  return isThere(path) && readFileSync(path).includes(MARK);
}

export function installPlugins(executable: string, binDir: string, force: boolean): Action[] {
  const own = join(binDir, OWN_NAME);
  const actions: Action[] = [];
  const current = isThere(own) && readFileSync(own).equals(readFileSync(executable));
  if (current) actions.push({ done: "unchanged", path: own });
  else {
    const done = isThere(own) ? "replaced" : "installed";
    // Other names of an earlier version are known by their content, so it is no matter that they are no longer links to this one.
    placing(own, (temporary) => {
      mkdirSync(binDir, { recursive: true, mode: 0o755 });
      copyFileSync(executable, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      chmodSync(temporary, 0o755);
      flush(temporary);
    });
    actions.push({ done, path: own });
  }
  for (const name of BUILT_IN_NAMES) actions.push(installLink(own, join(binDir, name), force));
  return actions;
}

function installLink(own: string, path: string, force: boolean): Action {
  if (isThere(path)) {
    if (statSync(path).ino === statSync(own).ino) return { done: "unchanged", path };
    if (!force && !isOurs(path)) return { done: "kept", path, why: "another's plugin; --force replaces it" };
  }
  const done = isThere(path) ? "replaced" : "installed";
  placing(path, (temporary) => {
    try {
      linkSync(own, temporary);
    } catch {
      // A file system without hard links.
      copyFileSync(own, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    }
  });
  return { done, path };
}

export function removePlugins(binDir: string): Action[] {
  return [OWN_NAME, ...BUILT_IN_NAMES].flatMap((name): Action[] => {
    const path = join(binDir, name);
    if (!isThere(path)) return [];
    if (!isOurs(path)) return [{ done: "kept", path, why: "another's plugin" }];
    rmSync(path);
    return [{ done: "removed", path }];
  });
}

/** Makes a file beside `path` and puts it there: a runtime that calls the plugin meanwhile has the old one or the new one. */
function placing(path: string, make: (temporary: string) => void): void {
  const temporary = `${path}.${process.pid}`;
  try {
    rmSync(temporary, { force: true });
    make(temporary);
    renameSync(temporary, path);
  } catch (error) {
    throw new Error(`cannot write ${path}: ${errnoWords(error)}`, { cause: error });
  } finally {
    if (existsSync(temporary)) rmSync(temporary);
  }
}

function flush(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function isThere(path: string): boolean {
  return existsSync(path) && statSync(path).isFile();
}
