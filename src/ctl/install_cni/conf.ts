// The configuration that makes runtimes call flannel: upstream's list, flannel and then portmap. An operator's changes to it are kept.

import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject } from "../../config/json_fields.ts";
import { parseJson } from "../../config/json_syntax.ts";
import { errnoWords, writeFileAtomically } from "../../daemon/atomic_file.ts";
import type { Action } from "./action.ts";

const LIST_NAME = "10-flannel.conflist";
/** For a configuration of one plugin, which is no list. */
const SINGLE_NAME = "10-flannel.conf";

/** Upstream's; what every runtime since 2017 can read. */
const VERSION = "0.3.1";
/** Of these a runtime that knows `cniVersions` (libcni ≥ 1.2) takes the newest it has; others see `cniVersion` alone. */
const NEWER_VERSIONS = ["0.4.0", "1.0.0", "1.1.0"] as const;
const PLUGINS = [
  { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
  { type: "portmap", capabilities: { portMappings: true } },
] as const;

export interface ConfOptions {
  readonly binDir: string;
  readonly confDir: string;
  /** To install instead of the usual one. */
  readonly file: string | undefined;
  /** Names the newer versions that all plugins of the list have; of a list that was given, leaves out the others that it names. */
  readonly newVersions: boolean;
  readonly force: boolean;
}

export function installConf({ binDir, confDir, file, newVersions, force }: ConfOptions): Action {
  const text =
    file === undefined
      ? usualConf(newVersions ? versionsOf(join(binDir, "portmap")) : [])
      : newVersions
        ? narrowed(readGiven(file), binDir)
        : readGiven(file);
  const path = join(confDir, nameFor(text));
  const present = readIfThere(path);
  if (present === text) return { done: "unchanged", path };
  // A file that was named is what the operator wants, as one of ours is.
  if (present !== undefined && file === undefined && !force && !isUsual(present)) {
    return { done: "kept", path, why: "it was changed, or is another's; --force replaces it" };
  }
  writeFileAtomically(path, text, 0o644);
  return { done: present === undefined ? "installed" : "replaced", path };
}

/** Removes the usual configuration, and `file`'s where that was installed. */
export function removeConf(confDir: string, file: string | undefined): Action[] {
  const given = file === undefined ? undefined : readGiven(file);
  return [LIST_NAME, SINGLE_NAME].flatMap((name): Action[] => {
    const path = join(confDir, name);
    const present = readIfThere(path);
    if (present === undefined) return [];
    if (!isUsual(present) && !(given !== undefined && isFrom(present, given)))
      return [{ done: "kept", path, why: "it was changed, or is another's" }];
    rmSync(path);
    return [{ done: "removed", path }];
  });
}

export function usualConf(newer: readonly string[]): string {
  const versions = newer.length > 0 ? { cniVersions: [VERSION, ...newer] } : {};
  return `${JSON.stringify({ name: "cbr0", cniVersion: VERSION, ...versions, plugins: PLUGINS }, undefined, 2)}\n`;
}

/** Ours to the letter, whichever newer versions it names. */
function isUsual(text: string): boolean {
  try {
    const json: unknown = JSON.parse(text);
    if (!isJsonObject(json)) return false;
    const { cniVersions } = json;
    const newer = Array.isArray(cniVersions) ? NEWER_VERSIONS.filter((version) => cniVersions.includes(version)) : [];
    return text === usualConf(newer);
  } catch {
    return false;
  }
}

/** The list with those of its `cniVersions` that all its plugins have. A plugin that cannot be asked has none: what works with `cniVersion` goes on working. */
function narrowed(text: string, binDir: string): string {
  const list: unknown = JSON.parse(text);
  if (!isJsonObject(list) || !Array.isArray(list.cniVersions) || !Array.isArray(list.plugins)) return text;
  const { cniVersions: named, cniVersion, ...rest } = list;
  const types = list.plugins.flatMap((plugin) => (isJsonObject(plugin) ? [String(plugin.type)] : []));
  const known = types.map((type) => supportedBy(join(binDir, type)));
  const versions = named.filter((version) => known.every((supported) => supported.includes(version)));
  if (versions.length === named.length) return text;
  const kept = versions.some((version) => version !== cniVersion) ? { cniVersions: versions } : {};
  return `${JSON.stringify({ ...rest, cniVersion, ...kept }, undefined, 2)}\n`;
}

function supportedBy(plugin: string): readonly unknown[] {
  try {
    return askVersions(plugin);
  } catch {
    return [];
  }
}

/** Whether `text` is what was made of the list `given`, whichever of its versions were left out. */
function isFrom(text: string, given: string): boolean {
  if (text === given) return true;
  try {
    const [one, other] = [text, given].map((json) => ({ ...JSON.parse(json), cniVersions: undefined }));
    return Bun.deepEquals(one, other);
  } catch {
    return false;
  }
}

/** What of NEWER_VERSIONS the plugin at `path`, which may be another's and old, says that it has (CNI specification, VERSION). */
function versionsOf(path: string): string[] {
  const supported = askVersions(path);
  return NEWER_VERSIONS.filter((version) => supported.includes(version));
}

function askVersions(path: string): readonly unknown[] {
  const request = Buffer.from(JSON.stringify({ cniVersion: VERSION }));
  try {
    const { stdout } = Bun.spawnSync([path], { stdin: request, env: { ...process.env, CNI_COMMAND: "VERSION" } });
    const { supportedVersions } = JSON.parse(stdout.toString());
    if (!Array.isArray(supportedVersions)) throw new Error("it names none");
    return supportedVersions;
  } catch (error) {
    throw new Error(`cannot ask ${path} for its CNI versions: ${error instanceof Error ? error.message : error}`);
  }
}

function readGiven(file: string): string {
  const text = readIfThere(file);
  if (text === undefined) throw new Error(`cannot read ${file}: there is no such file`);
  nameFor(text, file);
  return text;
}

/** Runtimes read lists and single configurations from files of different endings. */
function nameFor(text: string, file = LIST_NAME): string {
  const json = parseJson(text, file);
  if (isJsonObject(json) && typeof json.name === "string") {
    if (Array.isArray(json.plugins)) return LIST_NAME;
    if (typeof json.type === "string") return SINGLE_NAME;
  }
  throw new Error(`cannot install ${file}: want a CNI configuration, with name, and with plugins or type`);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new Error(`cannot read ${path}: ${errnoWords(error)}`, { cause: error });
  }
}
