// The plugins that are part of this program. Those that nearly every pod needs are loaded with it, at once: one by one costs
// half a millisecond. The others are loaded when they are called.

import { bridge } from "./bridge/bridge.ts";
import { knowsKeys as bridgeKnowsKeys } from "./bridge/conf.ts";
import { knowsKeys as hostLocalKnowsKeys } from "./host_local/conf.ts";
import { hostLocal } from "./host_local/host_local.ts";
import type { Plugin } from "./plugin.ts";

/** A plugin that also exists as a program of its own in CNI_PATH. */
export interface BuiltIn {
  readonly plugin: Plugin;
  /** Whether it knows every key of a configuration; where it does not, the program of CNI_PATH is called, which may. */
  knowsKeys(raw: Readonly<Record<string, unknown>>): boolean;
}

type Load = () => Promise<BuiltIn>;

const BUILT_IN: Readonly<Record<string, Load>> = {
  bridge: async () => ({ plugin: bridge, knowsKeys: bridgeKnowsKeys }),
  "host-local": async () => ({ plugin: hostLocal, knowsKeys: hostLocalKnowsKeys }),
  portmap: async () => {
    const [{ portmap }, { knowsKeys }] = await Promise.all([
      import("./portmap/portmap.ts"),
      import("./portmap/conf.ts"),
    ]);
    return { plugin: portmap, knowsKeys };
  },
  loopback: async () => {
    const { loopback, knowsKeys } = await import("./loopback.ts");
    return { plugin: loopback, knowsKeys };
  },
};

/** By the names of `type` of a configuration. */
export function builtInNamed(type: string): Load | undefined {
  return Object.hasOwn(BUILT_IN, type) ? BUILT_IN[type] : undefined;
}
