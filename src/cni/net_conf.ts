// A plugin's configuration as it comes on standard input (CNI specification 1.1.0, section 1): text to PluginConf. What belongs to one plugin alone is read by that
// plugin; here is what all have.

import { isJsonObject } from "../config/json_fields.ts";
import { isCniName } from "./call.ts";
import { CNI_CODE, CniError } from "./cni_error.ts";
import type { Attachment, PluginConf } from "./plugin.ts";
import { parseResult } from "./result_version.ts";
import { type Version, versionNamed } from "./version.ts";

/** A PluginConf whose version is known to be one of ours. */
export interface NetConf extends PluginConf {
  readonly cniVersion: Version;
}

/**
 * Reads a configuration. Throws CniError: "decode" for what is no JSON, with line and column; "incompatibleVersion"; "invalidConfig" that names every
 * other fault.
 */
export async function readNetConf(text: string): Promise<NetConf> {
  const json = await parseText(text);
  if (!isJsonObject(json)) throw new CniError(CNI_CODE.decode, "cannot read the configuration: want a JSON object");
  return netConfOf(json);
}

export function netConfOf(raw: Readonly<Record<string, unknown>>): NetConf {
  const faults: string[] = [];
  const text = (key: string): string | undefined => {
    const value = raw[key] ?? undefined;
    if (value === undefined || typeof value === "string") return value;
    faults.push(`${key}: got ${JSON.stringify(value).slice(0, 80)}, want text in double quotes`);
    return undefined;
  };
  const versionText = text("cniVersion");
  const name = text("name");
  const type = text("type");
  // A configuration of another version may have other keys: nothing else is said of it.
  const cniVersion = versionNamed(versionText);
  if (name === undefined || name === "") faults.push(...(faults.some(isOfName) ? [] : ["missing network name"]));
  // host-local makes a directory of it.
  else if (!isCniName(name)) {
    faults.push(
      `invalid characters found in network name: got ${JSON.stringify(name)}, want letters, digits, "_", "." and "-"`,
    );
  }
  let prevResult: PluginConf["prevResult"];
  try {
    prevResult = isAbsent(raw.prevResult) ? undefined : parseResult(raw.prevResult, "prevResult");
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    faults.push(error.message);
  }
  if (faults.length > 0) throw new CniError(CNI_CODE.invalidConfig, faults.join("; "));
  return { cniVersion, name: name ?? "", type: type ?? "", prevResult, raw };
}

/**
 * The attachments that GC is to keep. Throws when the configuration does not say: everything would be removed. Runtimes of the time when the specification
 * was young say `cni.dev/attachments`.
 */
export function validAttachments(raw: Readonly<Record<string, unknown>>): readonly Attachment[] {
  const key = raw["cni.dev/valid-attachments"] === undefined ? "cni.dev/attachments" : "cni.dev/valid-attachments";
  const list = raw[key];
  const want = "want a list of {containerID, ifname}";
  // libcni writes an empty list as null.
  if (list === null) return [];
  if (!Array.isArray(list)) {
    const got = list === undefined ? "missing" : `got ${JSON.stringify(list).slice(0, 80)}`;
    throw new CniError(CNI_CODE.invalidConfig, `cni.dev/valid-attachments: ${got}, ${want}; nothing is removed`);
  }
  return list.map((one: unknown, index): Attachment => {
    const { containerID, ifname } = isJsonObject(one) ? one : {};
    if (typeof containerID === "string" && typeof ifname === "string") return { containerId: containerID, ifname };
    throw new CniError(
      CNI_CODE.invalidConfig,
      `${key}[${index}]: got ${JSON.stringify(one)?.slice(0, 80)}, want {containerID, ifname}`,
    );
  });
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

function isOfName(fault: string): boolean {
  return fault.startsWith("name:");
}

/** JSON. What is wrong with a text is looked for only when something is. */
async function parseText(text: string): Promise<unknown> {
  try {
    return JSON.parse(text);
  } catch {
    const { parseJson } = await import("../config/json_syntax.ts");
    try {
      return parseJson(text, "cannot read the configuration: standard input");
    } catch (error) {
      throw new CniError(CNI_CODE.decode, error instanceof Error ? error.message : String(error));
    }
  }
}
