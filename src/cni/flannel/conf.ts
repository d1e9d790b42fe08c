// What the flannel type reads from its configuration: fields and defaults as upstream's plugin, and `builtin`, which is ours.

import { isJsonObject, quote } from "../../config/json_fields.ts";
import { CNI_CODE, CniError } from "../cni_error.ts";
import type { PluginConf } from "../plugin.ts";

export type Raw = Readonly<Record<string, unknown>>;

export interface FlannelConf {
  readonly subnetFile: string;
  readonly dataDir: string;
  /** Configuration of the plugin that makes the interface, as far as the operator gives it. */
  readonly delegate: Raw;
  /** The same for the plugin that chooses the address. */
  readonly ipam: Raw;
  readonly runtimeConfig: Raw | undefined;
  /** Whether a built-in plugin may serve as the delegate; `false` leaves it to the programs of CNI_PATH. */
  readonly builtIn: boolean;
}

const DEFAULTS = { subnetFile: "/run/flannel/subnet.env", dataDir: "/var/lib/cni/flannel" };

/** Throws CniError "invalidConfig" that names every fault. */
export function readFlannelConf({ raw }: PluginConf): FlannelConf {
  const faults: string[] = [];
  const path = (key: keyof typeof DEFAULTS): string => {
    const value = raw[key] ?? "";
    if (typeof value === "string") return value === "" ? DEFAULTS[key] : value;
    faults.push(`${key}: got ${quote(value)}, want the path of a file as text`);
    return DEFAULTS[key];
  };
  const object = (key: string): Raw | undefined => {
    const value = raw[key] ?? undefined;
    if (value === undefined || isJsonObject(value)) return value;
    faults.push(`${key}: got ${quote(value)}, want a JSON object`);
    return undefined;
  };
  const delegate = object("delegate") ?? {};
  const ipam = object("ipam") ?? {};
  faults.push(...delegateFaults(delegate), ...ipamFaults(ipam));
  const builtIn = raw.builtin ?? true;
  if (typeof builtIn !== "boolean") faults.push(`builtin: got ${quote(builtIn)}, want true or false`);
  const conf = {
    subnetFile: path("subnetFile"),
    dataDir: path("dataDir"),
    delegate,
    ipam,
    runtimeConfig: object("runtimeConfig"),
    builtIn: builtIn !== false,
  };
  if (faults.length > 0) throw new CniError(CNI_CODE.invalidConfig, faults.join("; "));
  return conf;
}

/** The first words are upstream's: people search for them. */
function delegateFaults(delegate: Raw): string[] {
  const faults: string[] = [];
  if (Object.hasOwn(delegate, "type") && typeof delegate.type !== "string") {
    faults.push(`'delegate' dictionary, if present, must have (string) 'type' field: got ${quote(delegate.type)}`);
  }
  if (Object.hasOwn(delegate, "name")) {
    faults.push("'delegate' dictionary must not have 'name' field, it'll be set by flannel");
  }
  if (Object.hasOwn(delegate, "ipam")) {
    faults.push(
      "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel; its keys belong into the outer 'ipam'",
    );
  }
  return faults;
}

function ipamFaults({ type, routes }: Raw): string[] {
  const faults: string[] = [];
  if (type !== undefined && typeof type !== "string")
    faults.push(`ipam.type: got ${quote(type)}, want text in double quotes`);
  const given = routes ?? [];
  if (!Array.isArray(given) || !given.every((route) => isJsonObject(route) && typeof route.dst === "string")) {
    faults.push(`failed to parse ipam.routes: got ${quote(routes)}, want a list of {"dst": "10.0.0.0/8"}`);
  }
  return faults;
}
