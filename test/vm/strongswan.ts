// strongSwan for guests: Debian's packages, unpacked into the cache and never installed, since installing them starts a charon on this machine. Where there is no apt,
// STRONGSWAN names a directory laid out like their contents (usr/lib/ipsec, usr/sbin/swanctl, etc/strongswan.conf, etc/strongswan.d).

import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { CACHE, command } from "./cache.ts";

const PACKAGES = [
  "strongswan-charon",
  "strongswan-libcharon",
  "strongswan-swanctl",
  "libstrongswan",
  "libstrongswan-standard-plugins",
  "libgmp10",
];

/** What the guest's kernel needs: the ciphers that modules are not looked for by name in there. */
export const IPSEC_MODULES = [
  "xfrm_user",
  "esp4",
  "gcm",
  "ctr",
  "seqiv",
  "echainiv",
  "ghash-generic",
  "drbg",
  "ansi_cprng",
];

export interface Strongswan {
  readonly programs: readonly string[];
  /** Path in the guest → path here. */
  readonly files: Readonly<Record<string, string>>;
}

export function openStrongswan(): Strongswan {
  const root = process.env.STRONGSWAN ?? unpacked();
  const files: Record<string, string> = {};
  for (const part of ["usr/lib", "etc/strongswan.conf", "etc/strongswan.d"]) {
    for (const path of filesBelow(join(root, part))) files[path.slice(root.length)] = path;
  }
  // Libraries of this machine, of the plugins too.
  const objects = Object.values(files).filter((path) => path.includes(".so"));
  const path = `${root}/usr/lib/ipsec:${root}/usr/lib/x86_64-linux-gnu`;
  const { stdout } = Bun.spawnSync(["ldd", ...objects], { env: { ...process.env, LD_LIBRARY_PATH: path } });
  const text = stdout.toString();
  const missing = /^\s*(\S+) => not found/m.exec(text)?.[1];
  if (missing) throw new Error(`cannot run strongSwan in a guest: there is no ${missing} here`);
  for (const [, library = ""] of text.matchAll(/(?:=> |^\s)(\/\S+) \(0x/gm)) {
    if (!library.startsWith(root) && !library.includes("/ld-")) files[library] = realpathSync(library);
  }
  // Loaded by name when a thread of swanctl ends.
  const unwinder = "/lib/x86_64-linux-gnu/libgcc_s.so.1";
  if (existsSync(unwinder)) files[unwinder] = realpathSync(unwinder);
  return { programs: [`${root}/usr/lib/ipsec/charon`, `${root}/usr/sbin/swanctl`], files };
}

function filesBelow(path: string): string[] {
  if (!existsSync(path)) throw new Error(`cannot find ${path} of strongSwan`);
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).flatMap((name) => filesBelow(join(path, name)));
}

/** The directory of the unpacked packages; downloads them when this version is not there. */
function unpacked(): string {
  const [first = ""] = PACKAGES;
  if (Bun.spawnSync(["apt-cache", "show", first]).exitCode !== 0) command(["apt-get", "update"]);
  const shown = command(["apt-cache", "show", "--no-all-versions", first]);
  const directory = join(CACHE, `strongswan_${/^Version: (\S+)/m.exec(shown)?.[1]}`);
  if (existsSync(directory)) return directory;
  mkdirSync(CACHE, { recursive: true });
  // Under another name first: an interrupted one must not look whole.
  const work = mkdtempSync(join(CACHE, "new-"));
  try {
    command(["apt-get", "-o", "APT::Sandbox::User=root", "download", ...PACKAGES], work);
    const archives = readdirSync(work);
    for (const archive of archives) command(["dpkg-deb", "-x", join(work, archive), join(work, "root")]);
    renameSync(join(work, "root"), directory);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return directory;
}
