// What ADD leaves for DEL: the delegate's configuration, one file for an attachment, in the place and form of upstream's plugin, so that either can free what the
// other gave: <dataDir>/<containerID>, mode 0600, JSON with sorted keys. By it a pod can be removed after the node got another subnet, or has none.
//
// upstream: a second attachment of a container replaces the file of the first; here it gets <containerID>-<ifname>. Which attachment a file is for stands in it,
// under a key that other plugins do not know.

import { isJsonObject } from "../../config/json_fields.ts";
import { EISDIR, ENOTDIR, SysError } from "../../sys/error.ts";
import { makeDirectories, namesIn, readTextIfAny, removeIfAny, unlessMissing, writeText } from "../../sys/file.ts";
import { rename } from "../../sys/libc.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import type { Attachment } from "../plugin.ts";
import type { Raw } from "./conf.ts";

const ATTACHMENT = "flannelAttachment";

export interface State {
  readonly path: string;
  /** Undefined when the file holds no configuration that a plugin could be called with. */
  readonly raw: Raw | undefined;
  /** Undefined in a file of upstream's plugin. */
  readonly attachment: Attachment | undefined;
}

/** Writes the state of an attachment: whole, on disk, or not at all. */
export function writeState(dataDir: string, attachment: Attachment, raw: Raw): void {
  const { containerId, ifname } = attachment;
  const first = readState(`${dataDir}/${containerId}`);
  const name = !first || first.raw === undefined || isFor(first, attachment) ? containerId : `${containerId}-${ifname}`;
  const path = `${dataDir}/${name}`;
  const temporary = temporaryPath(dataDir, attachment);
  const marked = { ...raw, [ATTACHMENT]: { containerID: containerId, ifname } };
  try {
    writeSynced(temporary, JSON.stringify(sorted(marked)), dataDir);
    rename(temporary, path);
  } catch (error) {
    removeUnfinished(dataDir, attachment);
    throw ioError("write", path, error);
  }
}

/** The state of an attachment, undefined when there is none. */
export function findState(dataDir: string, attachment: Attachment): State | undefined {
  const { containerId, ifname } = attachment;
  const further = readState(`${dataDir}/${containerId}-${ifname}`);
  if (further && isFor(further, attachment)) return further;
  const first = readState(`${dataDir}/${containerId}`);
  // What does not say whose it is was written by a plugin that knows one attachment of a container.
  return first && (first.attachment === undefined || isFor(first, attachment)) ? first : undefined;
}

export function removeState({ path }: State): void {
  wrapped("remove", path, () => removeIfAny(path));
}

/** What an ADD left that was killed while it wrote. */
export function removeUnfinished(dataDir: string, attachment: Attachment): void {
  try {
    removeIfAny(temporaryPath(dataDir, attachment));
  } catch {
    // No directory, or one that cannot be written: the state itself will tell.
  }
}

export interface StateDirectory {
  readonly states: readonly State[];
  /** Paths of what killed ADDs left. */
  readonly unfinished: readonly string[];
}

export function listStates(dataDir: string): StateDirectory {
  const names = wrapped("read", dataDir, () => unlessMissing(() => namesIn(dataDir))) ?? [];
  const [hidden, visible] = [names.filter(isHidden), names.filter((name) => !isHidden(name))];
  return {
    states: visible.flatMap((name) => readState(`${dataDir}/${name}`) ?? []),
    unfinished: hidden.map((name) => `${dataDir}/${name}`),
  };
}

/** A container's id does not begin with a dot. By the attachment, so that its next ADD or DEL finds the file. */
function temporaryPath(dataDir: string, { containerId, ifname }: Attachment): string {
  return `${dataDir}/.${containerId}-${ifname}`;
}

function isHidden(name: string): boolean {
  return name.startsWith(".");
}

function isFor({ attachment }: State, { containerId, ifname }: Attachment): boolean {
  return attachment?.containerId === containerId && attachment.ifname === ifname;
}

function readState(path: string): State | undefined {
  let text: string | undefined;
  try {
    text = readTextIfAny(path);
  } catch (error) {
    // A directory is somebody else's.
    if (error instanceof SysError && (error.errno === EISDIR || error.errno === ENOTDIR)) return undefined;
    throw ioError("read", path, error);
  }
  if (text === undefined) return undefined;
  const json = parsed(text);
  if (!isJsonObject(json) || typeof json.type !== "string" || json.type === "") {
    return { path, raw: undefined, attachment: undefined };
  }
  const { [ATTACHMENT]: mark, ...raw } = json;
  const { containerID, ifname } = isJsonObject(mark) ? mark : {};
  const known = typeof containerID === "string" && typeof ifname === "string";
  return { path, raw, attachment: known ? { containerId: containerID, ifname } : undefined };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Keys in the order in which Go writes them. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isJsonObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}

/** Makes the directory when there is none: once on a node. */
function writeSynced(path: string, text: string, directory: string): void {
  const write = () => {
    writeText(path, text, { mode: 0o600, sync: true });
    return true;
  };
  if (unlessMissing(write)) return;
  makeDirectories(directory, 0o700);
  write();
}

function wrapped<T>(verb: string, path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw ioError(verb, path, error);
  }
}

function ioError(verb: string, path: string, error: unknown): CniError {
  const words = error instanceof Error ? error.message : String(error);
  return new CniError(CNI_CODE.io, `cannot ${verb} ${path}: ${words}`);
}
